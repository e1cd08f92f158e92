import com.microsoft.aad.msal4j.*;
import java.io.*;
import java.net.URI;
import java.util.*;
import java.util.concurrent.*;

/** Runs the flows of MSAL for Java, one command a line: words separated by tabs. */
public class MsalFlows {
    static String authority;
    static PublicClientApplication app;
    static IAccount account;
    static CompletableFuture<IAuthenticationResult> waiting;

    static Set<String> scopes(String s) {
        return new HashSet<>(Arrays.asList(s.split(" ")));
    }

    static String keep(IAuthenticationResult r) {
        account = r.account();
        return "token";
    }

    static String run(String[] w) throws Exception {
        switch (w[0]) {
            case "open":
                authority = w[1];
                app = PublicClientApplication.builder(w[2]).authority(authority).build();
                return "opened";
            case "ropc":
                return keep(app.acquireToken(UserNamePasswordParameters.builder(scopes(w[3]), w[1], w[2].toCharArray()).build()).get());
            case "device": {
                CompletableFuture<String> code = new CompletableFuture<>();
                waiting = app.acquireToken(DeviceCodeFlowParameters.builder(scopes(w[1]), dc -> code.complete(dc.userCode())).build());
                return code.get(30, TimeUnit.SECONDS);
            }
            case "device-poll":
                return keep(waiting.get(60, TimeUnit.SECONDS));
            case "code-url":
                return app.getAuthorizationRequestUrl(
                        AuthorizationRequestUrlParameters.builder(w[2], scopes(w[1])).build()).toString();
            case "code":
                return keep(app.acquireToken(AuthorizationCodeParameters.builder(w[1], new URI(w[2])).scopes(scopes(w[3])).build()).get());
            case "interactive": {
                CompletableFuture<String> url = new CompletableFuture<>();
                InteractiveRequestParameters p = InteractiveRequestParameters.builder(new URI(w[2])).scopes(scopes(w[1]))
                        .systemBrowserOptions(SystemBrowserOptions.builder().openBrowserAction(u -> url.complete(u.toString())).build()).build();
                waiting = app.acquireToken(p);
                return url.get(30, TimeUnit.SECONDS);
            }
            case "silent": {
                SilentParameters p = SilentParameters.builder(scopes(w[1]), account).build();
                IAuthenticationResult r = app.acquireTokenSilently(p).get();
                return r.metadata().tokenSource() == TokenSource.CACHE ? "token from the cache" : "token from the service";
            }
            case "secret": {
                ConfidentialClientApplication web = ConfidentialClientApplication.builder(w[1],
                        ClientCredentialFactory.createFromSecret(w[2])).authority(authority).build();
                return keep(web.acquireToken(AuthorizationCodeParameters.builder(w[3], new URI(w[4])).scopes(scopes(w[5])).build()).get());
            }
            default:
                throw new IllegalArgumentException("no command " + w[0]);
        }
    }

    static String say(Throwable e) {
        while (e.getCause() != null && !(e instanceof MsalServiceException)) {
            e = e.getCause();
        }
        String text = String.valueOf(e.getMessage());
        java.util.regex.Matcher m = java.util.regex.Pattern.compile("AADSTS\\d+").matcher(text);
        String code = m.find() ? m.group() : text;
        if (e instanceof MsalServiceException) {
            MsalServiceException s = (MsalServiceException) e;
            return s.getClass().getSimpleName() + " " + s.errorCode() + ", " + code;
        }
        return e.getClass().getSimpleName() + " " + code;
    }

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null; ) {
            String reply;
            try {
                reply = "ok\t" + run(line.split("\t", -1));
            } catch (Throwable e) {
                reply = "error\t" + say(e);
            }
            System.out.println(reply.replace('\n', ' '));
            System.out.flush();
        }
        System.exit(0);
    }
}

import com.microsoft.aad.msal4j.*;
import java.nio.file.*;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.cert.*;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.*;
import java.util.concurrent.*;

/** Confidential clients of MSAL for Java: one line a flow, words separated by tabs. */
public class AppOnlyFlows {
    static String authority;

    static void flow(String name, String client, IClientCredential credential, String assertion) {
        String saw;
        try {
            ConfidentialClientApplication app = ConfidentialClientApplication.builder(client, credential).authority(authority).build();
            IAuthenticationResult r = assertion == null
                    ? app.acquireToken(ClientCredentialParameters.builder(Collections.singleton("api://orders/.default")).build()).get()
                    : app.acquireToken(OnBehalfOfParameters.builder(Collections.singleton("https://graph.microsoft.com/User.Read"), new UserAssertion(assertion)).build()).get();
            saw = "token\t" + r.accessToken();
        } catch (Exception e) {
            Throwable cause = e.getCause() == null ? e : e.getCause();
            saw = cause.getClass().getSimpleName() + "\t" + String.valueOf(cause.getMessage()).replaceAll("\\s+", " ");
        }
        System.out.println(name + "\t" + saw);
    }

    static PrivateKey key(String pem) throws Exception {
        String text = pem.replaceAll("(?s).*-----BEGIN PRIVATE KEY-----(.*?)-----END PRIVATE KEY-----.*", "$1").replaceAll("\\s", "");
        return KeyFactory.getInstance("RSA").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(text)));
    }

    public static void main(String[] w) throws Exception {
        authority = "https://login.microsoftonline.com/" + w[0];
        String daemon = w[1], pem = Files.readString(Path.of(w[3]));
        String certificate = pem.substring(pem.indexOf("-----BEGIN CERTIFICATE-----"));
        X509Certificate cert = (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(new java.io.ByteArrayInputStream(certificate.getBytes()));
        flow("confidential client, secret", daemon, ClientCredentialFactory.createFromSecret(w[2]), null);
        flow("confidential client, a wrong secret", daemon, ClientCredentialFactory.createFromSecret("x"), null);
        flow("confidential client, certificate", daemon, ClientCredentialFactory.createFromCertificate(key(pem), cert), null);
        flow("confidential client, a cluster's token", daemon, ClientCredentialFactory.createFromClientAssertion(Files.readString(Path.of(w[4]))), null);
        flow("on behalf of a user", w[6], ClientCredentialFactory.createFromSecret(w[7]), w[8]);
        System.exit(0);
    }
}

//! Runs the flows of libhimmelblau, one command a line: words separated by tabs
//! on standard input, one reply a line on standard output, "ok" or "error", a tab
//! and what the client saw. The device, its soft TPM, the PRT and the flow under
//! way stay in memory from one command to the next.

use himmelblau::error::MsalError;
use himmelblau::graph::Graph;
use himmelblau::{
    AuthOption, BrokerClientApplication, DeviceAuthorizationResponse, EnrollAttrs, LoadedMsHelloKey,
    MFAAuthContinue, PublicClientApplication, UserToken,
};
use himmelblau::AuthorizationCodePkceFlow;
use kanidm_hsm_crypto::provider::{BoxedDynTpm, SoftTpm, Tpm};
use kanidm_hsm_crypto::structures::{LoadableMsHelloKey, SealedData, StorageKey};
use kanidm_hsm_crypto::AuthValue;
use std::io::{BufRead, Write};
use std::str::FromStr;

struct State {
    authority: String,
    public: PublicClientApplication,
    broker: BrokerClientApplication,
    tpm: BoxedDynTpm,
    machine: StorageKey,
    token: Option<UserToken>,
    prt: Option<SealedData>,
    hello: Option<LoadableMsHelloKey>,
    flow: Option<MFAAuthContinue>,
    dag: Option<DeviceAuthorizationResponse>,
    code: Option<AuthorizationCodePkceFlow>,
    from_broker: bool, // who began the flow
}

type Said = Result<String, String>;

/// The outcome as a person would read it: the code of Entra where there is one.
fn say(e: MsalError) -> String {
    match e {
        MsalError::AcquireTokenFailed(r) => {
            let text = r.error_description.split([':', ' ']).next().unwrap_or("").to_string();
            match r.suberror {
                Some(s) => format!("{} / {}, {}", r.error, s, text),
                None => format!("{}, {}", r.error, text),
            }
        }
        MsalError::AADSTSError(e) => format!("AADSTS{}", e.code),
        MsalError::MFAPollContinue => "poll again".into(),
        MsalError::ChangePassword => "the password is to be changed".into(),
        MsalError::PasswordRequired => "a password is wanted".into(),
        MsalError::SkipMfaRegistration(..) => "asked to register a method".into(),
        e => e.to_string().replace(['\n', '\t'], " "),
    }
}

fn token(t: &UserToken) -> String {
    let mut out = vec!["token"];
    if t.amr_mfa().unwrap_or(false) {
        out.push("with MFA");
    }
    if t.amr_ngcmfa().unwrap_or(false) {
        out.push("with ngcmfa");
    }
    if t.prt.is_some() {
        out.push("with a PRT");
    }
    out.join(" ")
}

impl State {
    fn new(authority: &str, client: &str) -> Result<Self, String> {
        let mut tpm = BoxedDynTpm::new(SoftTpm::default());
        let auth = AuthValue::from_str(&AuthValue::generate().map_err(|e| format!("{e:?}"))?)
            .map_err(|e| format!("{e:?}"))?;
        let loadable = tpm.root_storage_key_create(&auth).map_err(|e| format!("{e:?}"))?;
        let machine = tpm.root_storage_key_load(&auth, &loadable).map_err(|e| format!("{e:?}"))?;
        Ok(State {
            authority: authority.into(),
            public: PublicClientApplication::new(client, Some(authority)).map_err(say)?,
            broker: BrokerClientApplication::new(Some(authority), None, None, None).map_err(say)?,
            tpm,
            machine,
            token: None,
            prt: None,
            hello: None,
            flow: None,
            dag: None,
            code: None,
            from_broker: false,
        })
    }

    fn keep(&mut self, r: Result<UserToken, MsalError>) -> Said {
        let t = r.map_err(say)?;
        let text = token(&t);
        if t.prt.is_some() {
            self.prt = t.prt.clone();
        }
        self.token = Some(t);
        Ok(text)
    }

    fn keep_prt(&mut self, r: Result<SealedData, MsalError>) -> Said {
        let prt = r.map_err(say)?;
        let id = self.broker.uuid_from_prt(&prt, &mut self.tpm, &self.machine).map_err(say)?;
        self.prt = Some(prt);
        Ok(format!("PRT of {id}"))
    }

    fn prt(&self) -> Result<SealedData, String> {
        self.prt.clone().ok_or("no PRT".into())
    }

    fn refresh(&self) -> Result<String, String> {
        self.token.as_ref().map(|t| t.refresh_token.clone()).ok_or("no token".into())
    }

    fn access(&self) -> Result<String, String> {
        self.token.as_ref().and_then(|t| t.access_token.clone()).ok_or("no access token".into())
    }

    fn began(&mut self, r: Result<MFAAuthContinue, MsalError>, broker: bool) -> Said {
        self.from_broker = broker;
        let flow = r.map_err(say)?;
        let mut text = flow.mfa_method();
        // The number to type into the authenticator app, which some flows have in
        // the message alone.
        let number: String = flow.msg.chars().filter(char::is_ascii_digit).collect();
        if text == "PhoneAppNotification" && !number.is_empty() {
            text += &format!(" {number}");
        }
        if flow.dag.is_some() {
            text = format!("device code {}", flow.dag.as_ref().map(|d| d.user_code.clone()).unwrap_or_default());
        }
        if flow.auth_code.is_some() {
            text = "nothing more is asked".into();
        }
        if let Some(c) = &flow.fido_challenge {
            text += &format!(" {c} {}", flow.fido_allow_list.clone().unwrap_or_default().join(","));
        }
        self.flow = Some(flow);
        Ok(text)
    }

    async fn run(&mut self, w: &[&str]) -> Said {
        let opt = |i: usize| w.get(i).copied().filter(|s| !s.is_empty());
        let arg = |i: usize| opt(i).ok_or(format!("{}: argument {i} is missing", w[0]));
        let scopes = |i: usize| opt(i).map(|s| s.split(' ').collect::<Vec<_>>()).unwrap_or_default();
        let options = |i: usize| {
            opt(i).map(|s| s.split(' ').filter_map(option).collect::<Vec<_>>()).unwrap_or_default()
        };
        match w[0] {
            // A public client.
            "ropc" => {
                let r = self.public.acquire_token_by_username_password(arg(1)?, arg(2)?, scopes(3)).await;
                self.keep(r)
            }
            "refresh" => {
                let rt = self.refresh()?;
                let r = self.public.acquire_token_by_refresh_token(&rt, scopes(1)).await;
                self.keep(r)
            }
            "code-url" => {
                let f = self.public.initiate_authorization_code_pkce_flow(scopes(1), arg(2)?).map_err(say)?;
                let url = f.auth_url().to_string();
                self.code = Some(f);
                Ok(url)
            }
            "code" => {
                let f = self.code.take().ok_or("no flow")?;
                let r = self.public.acquire_token_by_authorization_code_pkce_flow(&f, arg(1)?).await;
                self.keep(r)
            }
            "device" => {
                let f = self.public.initiate_device_flow(scopes(1)).await.map_err(say)?;
                let code = f.user_code.clone();
                self.dag = Some(f);
                self.from_broker = false;
                Ok(code)
            }
            "device-poll" => {
                let f = self.dag.clone().ok_or("no flow")?;
                let r = if self.from_broker {
                    self.broker.acquire_token_by_device_flow(f).await
                } else {
                    self.public.acquire_token_by_device_flow(f).await
                };
                self.keep(r)
            }
            "exists" => {
                let a = self.public.check_user_exists(arg(1)?, None, &options(2)).await.map_err(say)?;
                let known = a.try_exists().map_err(say)?;
                Ok(format!("{}{}", if known { "known" } else { "unknown" },
                    if a.passwordless() { ", may sign in without a password" } else { "" }))
            }
            "mfa" => {
                let r = self.public.initiate_acquire_token_by_mfa_flow(
                    arg(1)?, opt(2), scopes(3), None, &options(5), None, opt(4)).await;
                self.began(r, false)
            }
            // The broker's client.
            "broker-mfa" => {
                let r = self.broker.initiate_acquire_token_by_mfa_flow(arg(1)?, opt(2), &options(4), None, opt(3)).await;
                self.began(r, true)
            }
            "enrol-mfa" => {
                let r = self.broker.initiate_acquire_token_by_mfa_flow_for_device_enrollment(
                    arg(1)?, opt(2), &options(4), None, opt(3)).await;
                self.began(r, true)
            }
            "answer" | "poll" => {
                let mut flow = self.flow.take().ok_or("no flow")?;
                let (data, attempt) = match w[0] {
                    "poll" => (None, Some(arg(1)?.parse::<u32>().map_err(|e| e.to_string())?)),
                    _ => (opt(2), None),
                };
                let user = if w[0] == "poll" { arg(2)? } else { arg(1)? };
                let r = if self.from_broker {
                    self.broker.acquire_token_by_mfa_flow(user, data, attempt, &mut flow).await
                } else {
                    self.public.acquire_token_by_mfa_flow(user, data, attempt, &mut flow).await
                };
                self.flow = Some(flow);
                self.keep(r)
            }
            "enrol-ropc" => {
                let r = self.broker.acquire_token_by_username_password_for_device_enrollment(arg(1)?, arg(2)?).await;
                self.keep(r)
            }
            "enrol-device" => {
                let f = self.broker.initiate_device_flow_for_device_enrollment().await.map_err(say)?;
                let code = f.user_code.clone();
                self.dag = Some(f);
                self.from_broker = true;
                Ok(code)
            }
            "enrol" => {
                let rt = self.refresh()?;
                let kind = arg(2)?.parse::<u32>().map_err(|e| e.to_string())?;
                let attrs = EnrollAttrs::new(arg(1)?.into(), Some(arg(3)?.into()), Some("Linux".into()),
                    Some(kind), Some("Debian 12".into())).map_err(say)?;
                let (transport, cert, id) =
                    self.broker.enroll_device(&rt, attrs, &mut self.tpm, &self.machine).await.map_err(say)?;
                self.broker = BrokerClientApplication::new(
                    Some(&self.authority), None, Some(transport), Some(cert)).map_err(say)?;
                Ok(id)
            }
            "password" => {
                let r = self.broker.acquire_token_by_username_password(
                    arg(1)?, arg(2)?, scopes(3), opt(4).map(String::from), &mut self.tpm, &self.machine).await;
                self.keep(r)
            }
            "by-refresh" => {
                let rt = self.refresh()?;
                let r = self.broker.acquire_token_by_refresh_token(
                    &rt, scopes(1), opt(2).map(String::from), &mut self.tpm, &self.machine).await;
                self.keep(r)
            }
            "prt-password" => {
                let r = self.broker.acquire_user_prt_by_username_password(arg(1)?, arg(2)?, &mut self.tpm, &self.machine).await;
                self.keep_prt(r)
            }
            "prt-refresh" => {
                let rt = self.refresh()?;
                let r = self.broker.acquire_user_prt_by_refresh_token(&rt, &mut self.tpm, &self.machine).await;
                self.keep_prt(r)
            }
            "renew" => {
                let prt = self.prt()?;
                let r = self.broker.exchange_prt_for_prt(&prt, &mut self.tpm, &self.machine, opt(1) == Some("tgt")).await;
                self.keep_prt(r)
            }
            "exchange" => {
                let prt = self.prt()?;
                let r = self.broker.exchange_prt_for_access_token(
                    &prt, scopes(1), opt(2).map(String::from), &mut self.tpm, &self.machine).await;
                self.keep(r)
            }
            "cookie" => {
                let prt = self.prt()?;
                let r = match opt(1) {
                    Some(n) => self.broker.acquire_prt_sso_cookie_with_nonce(&prt, Some(n), &mut self.tpm, &self.machine).await,
                    None => self.broker.acquire_prt_sso_cookie(&prt, &mut self.tpm, &self.machine).await,
                };
                r.map_err(say)
            }
            "tgt" => {
                let prt = self.prt()?;
                let cc = self.broker.fetch_cloud_ccache(&prt, &mut self.tpm, &self.machine).map_err(say)?;
                Ok(format!("{} octets", cc.len()))
            }
            "hello" => {
                let t = self.token.clone().ok_or("no token")?;
                let k = self.broker.provision_hello_for_business_key(&t, &mut self.tpm, &self.machine, arg(1)?).await.map_err(say)?;
                LoadedMsHelloKey::load(&k, arg(1)?, &mut self.tpm, &self.machine).map_err(say)?;
                self.hello = Some(k);
                Ok("key registered".into())
            }
            "by-hello" => {
                let k = self.hello.clone().ok_or("no Hello key")?;
                let r = self.broker.acquire_token_by_hello_for_business_key(
                    arg(1)?, &k, scopes(3), opt(4).map(String::from), &mut self.tpm, &self.machine, arg(2)?).await;
                self.keep(r)
            }
            "prt-hello" => {
                let k = self.hello.clone().ok_or("no Hello key")?;
                let r = self.broker.acquire_user_prt_by_hello_for_business_key(
                    arg(1)?, &k, &mut self.tpm, &self.machine, arg(2)?).await;
                self.keep_prt(r)
            }
            "p2p-device" => {
                let c = self.broker.acquire_device_p2p_certificate(arg(1)?, arg(2)?, None, &mut self.tpm, &self.machine).await.map_err(say)?;
                Ok(format!("{c:?}").replace('\n', " "))
            }
            "p2p-user" => {
                let prt = self.prt()?;
                let c = self.broker.acquire_user_p2p_certificate(&prt, &mut self.tpm, &self.machine).await.map_err(say)?;
                Ok(format!("{c:?}").replace('\n', " "))
            }
            "ssh" => {
                let prt = self.prt()?;
                let c = self.broker.exchange_prt_for_ssh_certificate(&prt, arg(1)?, &mut self.tpm, &self.machine).await.map_err(say)?;
                Ok(format!("{}\t{}", c.principals.join(","), c.openssh_certificate()))
            }
            "change-password" => {
                self.public.handle_password_change(arg(1)?, arg(2)?, arg(3)?).await.map_err(say)?;
                Ok("changed".into())
            }
            "provider" => {
                let g = Graph::new("odc.officeapps.live.com", arg(1)?, None, None, None).await.map_err(say)?;
                Ok(format!("{} {} {}", g.authority_host().await.map_err(say)?,
                    g.tenant_id().await.map_err(say)?, g.graph_url().await.map_err(say)?))
            }
            "graph" => self.graph(arg(1)?, arg(2)?, opt(3)).await,
            "forget" => {
                self.token = None;
                self.prt = None;
                self.flow = None;
                self.public.clear_cookies();
                self.broker.clear_cookies();
                Ok("forgotten".into())
            }
            _ => Err(format!("no command {}", w[0])),
        }
    }

    async fn graph(&self, what: &str, domain: &str, name: Option<&str>) -> Said {
        let g = Graph::new("odc.officeapps.live.com", domain, None, None, None).await.map_err(say)?;
        let at = self.access()?;
        match what {
            "user" => g.request_user(&at, name.unwrap_or_default()).await.map(|u| u.upn).map_err(say),
            "groups" => g.request_user_groups(&at).await.map(|l| format!("{} groups", l.len())).map_err(say),
            "group" => g.request_group(&at, name.unwrap_or_default()).await.map(|_| "found".into()).map_err(say),
            "photo" => {
                let path = std::env::temp_dir().join(format!("himmelblau-photo-{}", std::process::id()));
                let f = std::fs::File::create(&path).map_err(|e| e.to_string())?;
                let r = g.fetch_user_profile_photo(&at, f).await.map(|_| "photo".into()).map_err(say);
                let _ = std::fs::remove_file(&path);
                r
            }
            "endpoints" => g.intune_service_endpoints(&at).await.map(|_| "endpoints".into()).map_err(say),
            _ => Err(format!("no graph call {what}")),
        }
    }
}

fn option(name: &str) -> Option<AuthOption> {
    Some(match name {
        "fido" => AuthOption::Fido,
        "passwordless" => AuthOption::Passwordless,
        "passwordless-fido" => AuthOption::PasswordlessFido,
        "no-device-code" => AuthOption::NoDAGFallback,
        "intune" => AuthOption::IntuneEnable,
        _ => return None,
    })
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let mut state = match State::new(&args[1], &args[2]) {
        Ok(s) => s,
        Err(e) => {
            eprintln!("himmelblau-flows: {e}");
            std::process::exit(1);
        }
    };
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let words: Vec<&str> = line.split('\t').collect();
        let reply = match state.run(&words).await {
            Ok(s) => format!("ok\t{s}"),
            Err(s) => format!("error\t{s}"),
        };
        println!("{}", reply.replace('\n', " "));
        let _ = std::io::stdout().flush();
    }
}

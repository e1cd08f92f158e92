//! The FIDO application of the Nitrokey 3 and the Solo 2, on this computer: CTAP2
//! messages come on standard input and answers go to standard output, each with its
//! length before it (4 bytes, big endian). Its user is always present.

use std::io::{stdin, stdout, Read, Write};
use std::time::Duration;

use ctaphid_app::{App, Command};
use fido_authenticator::{Authenticator, Config, Conforming};
use heapless_bytes::Bytes;
use trussed::backend::BackendId;
use trussed::platform::{Platform as _, UserInterface};
use trussed::types::ui::Status;
use trussed::virt::{self, StoreConfig};
use trussed_core::types::{consent::Level, reboot::To};
use trussed_staging::virt::{BackendIds, Client, Dispatcher};

struct Present;

impl UserInterface for Present {
    fn check_user_presence(&mut self) -> Level {
        Level::Normal
    }
    fn set_status(&mut self, _: Status) {}
    fn refresh(&mut self) {}
    fn uptime(&mut self) -> Duration {
        unreachable!("the platform counts")
    }
    fn reboot(&mut self, _: To) -> ! {
        std::process::exit(0)
    }
    fn wink(&mut self, _: Duration) {}
}

fn main() {
    virt::with_platform(StoreConfig::ram(), |mut platform| {
        platform.user_interface().set_inner(Box::new(Present));
        platform.run_client_with_backends(
            "fido",
            Dispatcher::default(),
            &[BackendId::Custom(BackendIds::StagingBackend), BackendId::Core],
            serve,
        )
    })
}

fn serve(client: Client) {
    let mut key = Authenticator::new(
        client,
        Conforming {},
        Config {
            max_msg_size: 3072,
            skip_up_timeout: None,
            max_resident_credential_count: None,
            large_blobs: None,
            nfc_transport: false,
            ccid_transport: false,
            firmware_version: None,
            credential_id_version: None,
            long_touch_for_reset: false,
            fido2_up_timeout: None,
        },
    );
    let mut length = [0u8; 4];
    while stdin().read_exact(&mut length).is_ok() {
        let mut message = vec![0u8; u32::from_be_bytes(length) as usize];
        stdin().read_exact(&mut message).unwrap();
        let mut answer = Bytes::<7609>::new();
        if key.call(Command::Cbor, &message, &mut answer).is_err() {
            answer.clear();
        }
        let mut out = stdout().lock();
        out.write_all(&(answer.len() as u32).to_be_bytes()).unwrap();
        out.write_all(&answer).unwrap();
        out.flush().unwrap();
    }
}

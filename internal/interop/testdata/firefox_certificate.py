"""Firefox signs in at the authorize page with a user certificate that is in its
own certificate store. In on standard input, a JSON object: profile (a directory
that does not exist yet), proxy (its port), authority, certificate, key (PEM),
url, user. Out: a JSON object with the address at the end, and the AADSTS code
that the last page shows."""
import json
import pathlib
import subprocess
import sys

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509 import load_pem_x509_certificate
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

job = json.load(sys.stdin)
profile = pathlib.Path(job["profile"])
profile.mkdir()
store = "sql:" + str(profile)


def run(*command):
    subprocess.run(command, check=True, capture_output=True)


(profile / "authority.pem").write_text(job["authority"])
run("certutil", "-N", "-d", store, "--empty-password")
run("certutil", "-A", "-d", store, "-n", "emulator", "-t", "C,,", "-i", str(profile / "authority.pem"))
if job["certificate"]:
    key = serialization.load_pem_private_key(job["key"].encode(), None)
    certificate = load_pem_x509_certificate(job["certificate"].encode())
    (profile / "user.p12").write_bytes(
        pkcs12.serialize_key_and_certificates(b"user", key, certificate, None, serialization.BestAvailableEncryption(b"x")))
    run("pk12util", "-i", str(profile / "user.p12"), "-d", store, "-W", "x")

options = webdriver.FirefoxOptions()
options.add_argument("-headless")
options.add_argument("-profile")
options.add_argument(str(profile))
options.set_preference("security.default_personal_cert", "Select Automatically")
options.set_preference("network.proxy.type", 1)
options.set_preference("network.proxy.ssl", "127.0.0.1")
options.set_preference("network.proxy.ssl_port", job["proxy"])
options.accept_insecure_certs = False
driver = webdriver.Firefox(options=options)
try:
    driver.get(job["url"])
    wait = WebDriverWait(driver, 30)
    wait.until(lambda d: d.find_element(By.ID, "i0116")).send_keys(job["user"])
    driver.find_element(By.CSS_SELECTOR, "#certauth button").click()

    def ended(d):
        alerts = d.find_elements(By.CSS_SELECTOR, "[role=alert][data-aadsts]")
        return "code=" in d.current_url or bool(alerts)

    wait.until(ended)
    alerts = driver.find_elements(By.CSS_SELECTOR, "[role=alert][data-aadsts]")
    print(json.dumps({"url": driver.current_url, "code": alerts[0].get_attribute("data-aadsts") if alerts else ""}))
finally:
    driver.quit()

setInterval(async () => {
  const { state = "", log = "" } = await chrome.storage.session.get();
  document.querySelector("#state").textContent = state;
  document.querySelector("#log").textContent = log;
}, 50);

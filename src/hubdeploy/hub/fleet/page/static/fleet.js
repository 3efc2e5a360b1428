// Keeps the page up to date every ten seconds, unless somebody is using a control in it.
// Without scripts the page works all the same; it is then renewed by loading it again.
"use strict";
(function () {
  const box = document.getElementById("live");
  const main = document.getElementById("main");
  box.hidden = false;
  box.nextElementSibling.hidden = false;
  box.checked = localStorage.getItem("fleet-live") !== "no";
  box.addEventListener("change", function () {
    localStorage.setItem("fleet-live", box.checked ? "yes" : "no");
  });
  async function renew() {
    const busy = main.contains(document.activeElement) || main.querySelector("details[open]");
    if (!box.checked || busy || document.hidden) return;
    const answer = await fetch(location.pathname, { credentials: "same-origin" });
    if (!answer.ok || answer.redirected) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = fresh.getElementById("main");
    if (next) main.replaceChildren(...next.childNodes);
  }
  setInterval(function () { renew().catch(function () {}); }, 10000);
})();

// The first page stays live. Without this script it is the page of the moment at which it was opened.
"use strict";
const live = document.getElementById("live");
if (live) {
  const stale = document.getElementById("stale");
  let last = Date.now();
  const stream = new EventSource(live.dataset.live);
  stream.onmessage = (event) => {
    last = Date.now();
    stale.hidden = true;
    // Rendered and escaped by the server that this page came from.
    live.innerHTML = event.data;
    // What is over does not change any more, and is not old.
    if (!live.querySelector("[data-over]")) return;
    stream.close();
    clearInterval(watch);
  };
  const watch = setInterval(() => {
    const seconds = Math.round((Date.now() - last) / 1000);
    if (seconds < 45) return;
    stale.textContent = "Not live: nothing was heard for " + seconds + " seconds. What is shown is old.";
    stale.hidden = false;
  }, 1000);
  stream.onerror = () => {
    stale.textContent = "Not live: the stream has stopped. What is shown is old.";
    stale.hidden = false;
  };
}

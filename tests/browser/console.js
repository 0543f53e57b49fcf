// The console in a real Chromium: every page on a phone's width, light and dark, held against axe; signing in and switching a source as
// a person does; the first page live. Arguments: the console's URL, its token, a source. Exit code 0: nothing was found.
const { chromium } = require("playwright-core");
const axe = require("fs").readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const [base, token, source] = process.argv.slice(2);
const PAGES = ["/", "/ledger", "/sources", "/rules", "/dead-letters", "/dead-letters/bytes", "/reports", "/changes", "/event?id=0:0", "/sign-in"];
const found = [];

async function signIn(page) {
  await page.goto(base + "/sign-in");
  await page.fill("#token", token);
  await page.click("main button");
  if (!(await page.isVisible("text=Sign out"))) found.push("the token does not sign in");
}

async function held(browser, colorScheme) {
  // axe is put into the page, which the page's own policy forbids: the policy is tried below.
  const context = await browser.newContext({ colorScheme, bypassCSP: true, viewport: { width: 390, height: 800 } });
  const page = await context.newPage();
  await signIn(page);
  for (const path of PAGES) {
    const answer = await page.goto(base + path);
    if (answer.status() !== 200) found.push(`${path} answers ${answer.status()}`);
    await page.addScriptTag({ content: axe });
    for (const { id, nodes } of (await page.evaluate(() => axe.run())).violations) {
      found.push(`${colorScheme} ${path}: ${id} at ${nodes[0].html.slice(0, 120)}`);
    }
    if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) found.push(`${path} is wider than a phone`);
  }
  await context.close();
}

async function used(browser) {
  const page = await (await browser.newContext()).newPage();
  page.on("console", (message) => message.type() === "error" && found.push(`the browser says: ${message.text()}`));
  page.on("pageerror", (error) => found.push(`the page says: ${error}`));
  await signIn(page);
  const asOf = () => page.textContent("#live > p:last-child");
  const first = await asOf();
  await page.waitForFunction((first) => document.querySelector("#live > p:last-child").textContent !== first, first, { timeout: 60000 });
  for (const state of ["quarantine", "accept"]) {
    await page.goto(base + "/sources");
    await page.selectOption("#source", source);
    await page.selectOption("#state", state);
    await page.fill("#who", "a browser");
    await page.fill("#why", "<b>a test</b>");
    await page.click("form.card button");
    await page.goto(base + "/changes");
    const row = await page.textContent("tbody tr:first-child");
    if (!row.includes(state) || !row.includes("<b>a test</b>")) found.push(`${state} is not in the changes: ${row}`);
  }
}

(async () => {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
  await held(browser, "light");
  await held(browser, "dark");
  await used(browser);
  await browser.close();
  found.forEach((one) => console.log(one));
  process.exit(found.length === 0 ? 0 : 1);
})();

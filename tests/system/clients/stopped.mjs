// A stock Node.js client that asks a page for what the given URL serves, and prints the error that it gets instead.
import { createRequire } from 'node:module';

const [playwright, endpoint, url] = process.argv.slice(2);
const { chromium } = createRequire(import.meta.url)(playwright);
const page = await (await chromium.connect(endpoint)).newPage();
await page.evaluate(url => fetch(url).then(answer => answer.text()), url).catch(error => console.log(error.message));

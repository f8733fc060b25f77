import { defineConfig } from '@playwright/test';

export default defineConfig({
  reporter: 'line',
  outputDir: process.env.OUTPUT,
  use: { connectOptions: { wsEndpoint: process.env.ENDPOINT, exposeNetwork: '<loopback>' }, launchOptions: { slowMo: 1 } },
});

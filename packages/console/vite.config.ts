import { defineConfig } from 'vite';

// Hashed assets and no inline scripts, so that the page can forbid them (its Content-Security-Policy).
export default defineConfig({
  base: './',
  build: { outDir: 'site', target: 'es2023', modulePreload: { polyfill: false } },
  esbuild: false,
});

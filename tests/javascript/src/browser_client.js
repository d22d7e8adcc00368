// Visits a node from a page in headless Chromium, over WebRTC, and prints what came of it:
//   node browser_client.js ADDRESS WANTED_PEER_ID CHROMIUM

import './with_resolvers.js'

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { build } from 'esbuild'

// The visit in the page has a limit of its own; this one is for a browser that never comes to it.
const LIMIT_MS = 120_000

const [address, wanted, chromium] = process.argv.slice(2)
if (chromium === undefined) {
  console.error('usage: node browser_client.js ADDRESS WANTED_PEER_ID CHROMIUM')
  process.exit(2)
}
const { seen, failed } = await open(await serve(await bundle()))
if (failed !== undefined) {
  console.error(`in the page: ${failed}`)
  process.exit(1)
}
console.log(JSON.stringify(seen))

/** The page's script, with everything that it imports. */
async function bundle () {
  const page = fileURLToPath(new URL('page.js', import.meta.url))
  const { outputFiles: [script] } = await build({
    entryPoints: [page], bundle: true, write: false, format: 'esm', platform: 'browser', logLevel: 'error'
  })
  return script.text
}

/** Serves the page, and hears from it. */
async function serve (script) {
  const { promise: outcome, resolve } = Promise.withResolvers()
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost')
    if (pathname === '/outcome') {
      let body = ''
      request.on('data', chunk => { body += chunk })
      request.on('end', () => {
        response.end()
        resolve(JSON.parse(body))
      })
    } else if (pathname === '/page.js') {
      response.setHeader('content-type', 'text/javascript').end(script)
    } else {
      response.setHeader('content-type', 'text/html').end('<!doctype html><script type="module" src="/page.js"></script>')
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, outcome }
}

/** Opens the page and waits for its outcome; leaves neither process nor file behind. */
async function open ({ server, outcome }) {
  const profile = await mkdtemp(join(tmpdir(), 'p2c2r-browser-'))
  const page = new URL(`http://127.0.0.1:${server.address().port}/`)
  page.search = new URLSearchParams({ address, wanted })
  const browser = spawn(chromium, [
    '--headless=new', '--disable-gpu', '--no-first-run', '--disable-extensions', '--disable-background-networking',
    // The test's own page is all that it ever opens, and its sandbox does not start in containers or for root.
    '--no-sandbox', '--disable-dev-shm-usage', `--user-data-dir=${profile}`, page.href
  ], { stdio: ['ignore', 'ignore', 'pipe'], detached: true })
  let complaints = ''
  browser.stderr.on('data', chunk => { complaints = (complaints + chunk).slice(-4000) })
  const ended = once(browser, 'exit')
  const late = new Promise(resolve => { setTimeout(resolve, LIMIT_MS, { failed: 'nothing was heard of the page' }).unref() })
  try {
    const early = ended.then(([code]) => ({ failed: `the browser ended by itself (${code}): ${complaints}` }))
    return await Promise.race([outcome, early, late])
  } finally {
    try {
      // All of its processes.
      process.kill(-browser.pid, 'SIGKILL')
    } catch {
      // It has ended already.
    }
    await ended
    server.closeAllConnections()
    server.close()
    await rm(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  }
}

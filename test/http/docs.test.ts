import { expect, it } from 'vitest'
import { createApp } from '../../src/app.ts'
import { docsFiles } from '../../src/node/docs.ts'
import { startService } from '../support/service.ts'

it.each([
  'constructor',
  '__proto__',
  'hasOwnProperty',
  'package.json',
])('/docs/%s is not found, with a request id', async (name) => {
  const service = await startService('PGlite')
  const app = createApp({
    worldOf: () => service.world,
    addressOf: () => '127.0.0.1',
    allowedOrigins: ['*'],
  })
  app.route('/', docsFiles())
  const response = await app.request(`/docs/${name}`)
  expect(response.status).toBe(404)
  expect(response.headers.get('X-Request-Id')).toMatch(/^req_/)
  await service.close()
})

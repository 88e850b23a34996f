import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import postgres from 'postgres'
import { describe, expect, inject, it } from 'vitest'
import { openDatabase } from '../../src/db/open.ts'
import { ENVIRONMENT_NAMES, readConfig } from '../../src/env.ts'
import { ROOT } from '../node/entry.ts'

const run = promisify(execFile)
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')

describe('.env.example', () => {
  const lines = read('.env.example').split('\n')
  const assignments = (form: RegExp) =>
    lines.flatMap((line) => {
      const [, name, value] = form.exec(line) ?? []
      return name === undefined ? [] : [[name, value ?? ''] as const]
    })
  const set = assignments(/^([A-Z_]+)=(.*)$/)
  const commented = assignments(/^#([A-Z_]+)=(.*)$/)

  it('has every variable of the service once, and no other', () => {
    expect([...set, ...commented].map(([name]) => name).sort()).toEqual(
      [...ENVIRONMENT_NAMES].sort(),
    )
  })

  it('is a configuration once its secrets are filled in', () => {
    const secrets = {
      ENCRYPTION_KEY: `first:${randomBytes(32).toString('base64')}`,
      OPERATOR_PRIVATE_KEY: randomBytes(32).toString('hex'),
    }
    const values = { ...Object.fromEntries(set), ...secrets }
    expect(readConfig(values)).toMatchObject({ STACKS_NETWORK: 'mainnet', METRICS_PORT: 9464 })
    for (const name of Object.keys(secrets))
      expect(() => readConfig({ ...values, [name]: Object.fromEntries(set)[name] })).toThrow(name)
  })

  it('shows the defaults in its comments', () => {
    const secrets = {
      ENCRYPTION_KEY: randomBytes(32).toString('base64'),
      OPERATOR_PRIVATE_KEY: randomBytes(32).toString('hex'),
    }
    const config: Record<string, unknown> = {
      ...readConfig({ ...Object.fromEntries(set), ...secrets }),
      OPERATOR_PRIVATE_KEYS: undefined, // Made of OPERATOR_PRIVATE_KEY.
    }
    for (const [name, value] of commented)
      expect([name, value]).toEqual([name, [config[name] ?? []].flat().join(',')])
  })
})

/** Names as a manifest sets them: `NAME: value` in YAML, `name: NAME` in an env list. */
const namesIn = (text: string) => [
  ...new Set([...text.matchAll(/^ +(?:- name: )?([A-Z][A-Z_]+)(?::|$)/gm)].map(([, name]) => name)),
]

describe('the manifests', () => {
  const known: readonly string[] = [...ENVIRONMENT_NAMES, 'SERVICE_ROLE']

  it.each([
    ['deploy/kubernetes.yaml', []],
    [
      'deploy/compose.yaml',
      ['POSTGRES_PASSWORD', 'LATCHKEY_OWNER_PASSWORD', 'LATCHKEY_SERVICE_PASSWORD'],
    ],
  ])('set variables that there are: %s', (path, others) => {
    const names = namesIn(read(path))
    expect(names.length).toBeGreaterThan(3)
    expect(names.filter((name = '') => ![...known, ...others].includes(name))).toEqual([])
  })

  it('have the settings of Kubernetes that the service accepts', () => {
    const data = /^data:\n((?: {2}.*\n)+)/m.exec(read('deploy/kubernetes.yaml'))?.[1] ?? ''
    const settings = Object.fromEntries(
      [...data.matchAll(/^ {2}([A-Z_]+): "?([^"\n]+)"?$/gm)].map(([, name, value]) => [
        name,
        value,
      ]),
    )
    const secrets = {
      DATABASE_URL: 'postgres://latchkey:x@db/latchkey',
      ENCRYPTION_KEY: randomBytes(32).toString('base64'),
      OPERATOR_PRIVATE_KEYS: randomBytes(32).toString('hex'),
    }
    expect(readConfig({ ...settings, ...secrets }).STACKS_NETWORK).toBe('mainnet')
  })

  it.each([
    'deploy/kubernetes.yaml',
    'deploy/compose.yaml',
  ])('start files of the service that exist, and none with rights that it does not need: %s', (path) => {
    const text = read(path)
    for (const [file] of text.matchAll(/\bsrc\/[\w/]+\.ts/g))
      expect(existsSync(join(ROOT, file))).toBe(true)
    const containers = [...text.matchAll(/image: latchkey/g)].length
    expect(containers).toBe(2)
    expect([...text.matchAll(/readOnlyRootFilesystem: true|read_only: true/g)]).toHaveLength(2)
    expect([...text.matchAll(/drop: \[ALL\]/g)]).toHaveLength(2)
    expect([
      ...text.matchAll(/allowPrivilegeEscalation: false|no-new-privileges:true/g),
    ]).toHaveLength(2)
  })

  it('make the roles of compose in a Postgres, which the owner migrates and the service uses', async () => {
    const server = inject('postgresUrl')
    const { username, password, hostname, port } = new URL(server)
    const admin = postgres(`${server}/postgres`, { max: 1, onnotice: () => {} })
    const drop = async () => {
      await admin.unsafe('DROP DATABASE IF EXISTS latchkey WITH (FORCE)')
      await admin.unsafe('DROP ROLE IF EXISTS latchkey')
      await admin.unsafe('DROP ROLE IF EXISTS latchkey_owner')
    }
    await drop()
    try {
      const passwords = { LATCHKEY_OWNER_PASSWORD: "o'wner", LATCHKEY_SERVICE_PASSWORD: 'service' }
      await run('sh', [join(ROOT, 'deploy/create-roles.sh')], {
        env: {
          PATH: process.env.PATH,
          PGHOST: hostname,
          PGPORT: port,
          POSTGRES_USER: username,
          PGPASSWORD: password,
          ...passwords,
        },
      })
      const at = `${hostname}:${port}/latchkey`
      const owner = `postgres://latchkey_owner:${encodeURIComponent("o'wner")}@${at}`
      await run(process.execPath, [join(ROOT, 'src/node/migrate.ts')], {
        env: { PATH: process.env.PATH, DATABASE_URL: owner, SERVICE_ROLE: 'latchkey' },
      })
      const service = await openDatabase(`postgres://latchkey:service@${at}`)
      await service.close()
    } finally {
      await drop()
      await admin.end()
    }
  })
})

const hasSystemd = existsSync('/usr/bin/systemd-analyze') || process.env.CI === 'true'

describe.runIf(hasSystemd)('the unit of systemd', () => {
  const unit = join(ROOT, 'deploy/latchkey.service')

  it('is understood, with the program that the documents install', async () => {
    const { stderr } = await run('systemd-analyze', ['verify', unit]).catch((error) => error)
    const faults = stderr.split('\n').filter((line: string) => line !== '')
    expect(faults.filter((line: string) => !line.includes('is not executable'))).toEqual([])
  })

  it('exposes little of the machine', async () => {
    // The threshold is in tenths: 10 is the most exposed.
    await run('systemd-analyze', ['security', '--offline=yes', '--threshold=15', unit])
  })
})

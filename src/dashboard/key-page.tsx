import { useState } from 'preact/hooks'
import type { Key, KeyUsage, RotatedKey, ServiceInfo, Sighting } from '../client/index.ts'
import { Chart, lastHours } from './bars.tsx'
import { owner, reader } from './clients.ts'
import { connection, service } from './connection.ts'
import { changeOf, differencesOf, draftOfKey, type KeyDraft, readDraft } from './draft.ts'
import { formatCountdown, formatNumber, formatTime } from './format.ts'
import { KeyForm } from './key-form.tsx'
import { LimitChips } from './keys-view.tsx'
import { say } from './language.ts'
import { announceChange, useAct, useLoad, useNow } from './load.ts'
import { focusFirstFault, RiskMeter, readWhenKnown, termsPolicyOf } from './new-key.tsx'
import {
  Button,
  Card,
  Chip,
  Empty,
  Facts,
  Field,
  Icon,
  KeyStatusChip,
  LinkButton,
  Modal,
  Mono,
  PageHead,
  Segments,
  Skeleton,
  Time,
} from './parts.tsx'
import { Problem } from './problem.tsx'
import { go } from './router.ts'
import { Certificate, SecretDialog } from './secret.tsx'
import { useStore } from './store.ts'
import { toast } from './toasts.tsx'
import { amountIn, decimalsOf, requireDecimals, tokenAmount, tokensLearned } from './tokens.ts'
import { alertTexts, heartbeatText, sentenceOf, termText } from './words.ts'

const HOURS = 48
const DAY_MS = 86_400_000

export function KeyPage({ keyId }: { keyId: string }) {
  useStore(tokensLearned)
  // A rule may suspend it at any time.
  const key = useLoad((signal) => reader().keys.get(keyId, { signal }), [keyId], { isLive: true })
  const usage = useLoad(
    (signal) => reader().keys.usage(keyId, { by: 'hour', days: 3 }, { signal }),
    [keyId],
    { isLive: true },
  )
  const one = key.value
  if (one === undefined)
    return key.error === undefined ? (
      <Skeleton rows={5} height={72} />
    ) : (
      <>
        <PageHead back={['#/keys', say('keys.title')]} title={say('key.title')} />
        <Problem error={key.error} onRetry={key.reload} />
      </>
    )
  return (
    <>
      {key.error !== undefined && <Problem error={key.error} onRetry={key.reload} />}
      <KeyHead of={one} />
      <div class="grid">
        <Card title={say('key.usage')} class="span-2" aside={<UsageSum of={one} />}>
          {usage.error !== undefined && <Problem error={usage.error} onRetry={usage.reload} />}
          <Outcomes usage={usage.value} />
        </Card>
        <Card title={say('key.rights')}>
          <Facts
            facts={[
              [
                say('column.may'),
                <span class="chips" key="may">
                  {one.permissions.map((scope) => (
                    <Chip key={scope}>{scope}</Chip>
                  ))}
                  {one.permissions.length === 0 && <Chip>{say('reads')}</Chip>}
                </span>,
              ],
              [say('column.limits'), <LimitChips of={one} areAll key="limits" />],
              ...(one.ipAllowlist === undefined
                ? []
                : ([
                    [say('term.ipAllowlist'), <List items={one.ipAllowlist} key="ips" />],
                  ] as const)),
              ...(one.recipients === undefined
                ? []
                : ([[say('term.recipients'), <List items={one.recipients} key="to" />]] as const)),
              [
                say('column.expires'),
                one.expiresAt === undefined ? say('never') : formatTime(one.expiresAt),
              ],
              [say('term.rateLimit'), formatNumber(one.rateLimit)],
              [
                say('term.heartbeat'),
                one.heartbeat === undefined ? say('none.heartbeat') : heartbeatText(one.heartbeat),
              ],
              [
                say('term.alerts'),
                one.alerts === undefined ? (
                  say('none.alerts')
                ) : (
                  <span class="stack" key="alerts">
                    {alertTexts(one.alerts).map((text) => (
                      <span key={text}>{text}</span>
                    ))}
                  </span>
                ),
              ],
              ...(one.label === undefined ? [] : ([[say('term.label'), one.label]] as const)),
            ]}
          />
        </Card>
        <Card title={say('key.spent')}>
          <Spent of={one} usage={usage.value} />
        </Card>
        <Card title={say('key.addresses')}>
          <Sightings of={one} seen={usage.value?.ips} />
        </Card>
        <Card title={say('key.agents')}>
          <Sightings of={one} seen={usage.value?.userAgents} />
        </Card>
        <Card title={say('key.facts')} class="span-2">
          <Facts
            facts={[
              [say('key.id'), <Mono text={one.keyId} short={false} key="id" />],
              [
                say('key.preview'),
                <code class="mono" key="preview">
                  {one.keyPreview}
                </code>,
              ],
              [say('key.created'), formatTime(one.createdAt)],
              ...(one.suspendedAt === undefined
                ? []
                : ([[say('key.suspended'), formatTime(one.suspendedAt)]] as const)),
              ...(one.revokedAt === undefined
                ? []
                : ([[say('key.revoked'), formatTime(one.revokedAt)]] as const)),
            ]}
          />
          <p>
            <a href={`#/audit?key=${one.keyId}`}>{say('key.history')}</a>
          </p>
        </Card>
      </div>
    </>
  )
}

function KeyHead({ of }: { of: Key }) {
  const { keyId, name, status } = of
  const [dialog, setDialog] = useState<'rotate' | 'revoke'>()
  const [rotated, setRotated] = useState<RotatedKey>()
  const isLive = status === 'active' || status === 'suspended'
  const pause = useAct(async () => {
    const { keys } = owner()
    await (status === 'suspended' ? keys.resume(keyId) : keys.suspend(keyId))
    announceChange()
    toast(say(status === 'suspended' ? 'key.isResumed' : 'key.isSuspended', { name }))
  })
  return (
    <>
      <PageHead
        back={['#/keys', say('keys.title')]}
        title={
          <>
            {name} <KeyStatusChip status={status} />
          </>
        }
        text={<code class="mono">{of.keyPreview}</code>}
      >
        {isLive && (
          <>
            <LinkButton href={`#/keys/${keyId}/change`}>{say('key.change')}</LinkButton>
            <Button onClick={() => setDialog('rotate')}>{say('key.rotate')}</Button>
            <Button isBusy={pause.isBusy} onClick={pause.run}>
              {say(status === 'suspended' ? 'key.resume' : 'key.suspend')}
            </Button>
            <Certificate keyId={keyId} name={name} />
            <Button kind="danger" onClick={() => setDialog('revoke')}>
              {say('key.revoke')}
            </Button>
          </>
        )}
      </PageHead>
      {pause.error !== undefined && <Problem error={pause.error} onDismiss={pause.dismiss} />}
      {status === 'suspended' && of.suspendedAt && (
        <p class="note warn">
          <Icon name="alert" />
          <span>
            {say(`suspendedBy.${of.suspendedBy ?? 'owner'}`, { time: formatTime(of.suspendedAt) })}
          </span>
        </p>
      )}
      {of.previousUntil && <Grace until={of.previousUntil} />}
      {dialog === 'rotate' && (
        <RotateDialog
          of={of}
          onClose={() => setDialog(undefined)}
          onRotated={(result) => {
            setDialog(undefined)
            setRotated(result)
          }}
        />
      )}
      {dialog === 'revoke' && <RevokeDialog of={of} onClose={() => setDialog(undefined)} />}
      {rotated && (
        <SecretDialog
          secret={rotated.apiKey}
          keyId={keyId}
          name={name}
          previousUntil={rotated.previousUntil}
          onStored={() => setRotated(undefined)}
        />
      )}
    </>
  )
}

/** How long the secret before the last rotation still works. */
function Grace({ until }: { until: string }) {
  const left = (Date.parse(until) - useNow()) / 1_000
  if (left <= 0) return null
  return (
    <p class="note info">
      <Icon name="clock" />
      <span>
        {say('key.grace', { time: formatTime(until) })}{' '}
        <strong class="mono">{formatCountdown(left)}</strong>
      </span>
    </p>
  )
}

const GRACES = { '0': 0, '1h': 3_600, '24h': 86_400, '7d': 604_800 } as const

function RotateDialog(props: {
  of: Key
  onClose: () => void
  onRotated: (result: RotatedKey) => void
}) {
  const { keyId, name, previousUntil } = props.of
  const [grace, setGrace] = useState<keyof typeof GRACES>('1h')
  const isInGrace = previousUntil !== undefined && Date.parse(previousUntil) > Date.now()
  const { isBusy, error, run, dismiss } = useAct(async () => {
    const result = await owner().keys.rotate(keyId, GRACES[grace], isInGrace ? { force: true } : {})
    announceChange()
    props.onRotated(result)
  })
  return (
    <Modal title={say('rotate.title', { name })} onClose={props.onClose}>
      <p>{say('rotate.text')}</p>
      <Segments
        label={say('rotate.grace')}
        value={grace}
        onChange={setGrace}
        options={(Object.keys(GRACES) as (keyof typeof GRACES)[]).map((one) => [
          one,
          say(`grace.${one}`),
        ])}
      />
      {isInGrace && (
        <p class="note warn">
          <Icon name="alert" /> {say('rotate.force', { time: formatTime(previousUntil) })}
        </p>
      )}
      {error !== undefined && <Problem error={error} onDismiss={dismiss} />}
      <div class="modal-foot">
        <Button onClick={props.onClose}>{say('cancel')}</Button>
        <Button kind="primary" icon="wallet" isBusy={isBusy} onClick={run}>
          {say('key.rotate')}
        </Button>
      </div>
    </Modal>
  )
}

function RevokeDialog({ of, onClose }: { of: Key; onClose: () => void }) {
  const { keyId, name } = of
  const [typed, setTyped] = useState('')
  const { isBusy, error, run, dismiss } = useAct(async () => {
    await owner().keys.delete(keyId)
    announceChange()
    toast(say('key.isRevoked', { name }))
    onClose()
  })
  const submit = (event: Event) => {
    event.preventDefault()
    if (typed === name) run()
  }
  return (
    <Modal title={say('revoke.title', { name })} onClose={onClose}>
      <form onSubmit={submit}>
        <p>{say('revoke.text')}</p>
        <Field label={say('revoke.type', { name })}>
          {(attributes) => (
            <input
              {...attributes}
              value={typed}
              autocomplete="off"
              spellcheck={false}
              onInput={(event) => setTyped(event.currentTarget.value)}
            />
          )}
        </Field>
        {error !== undefined && <Problem error={error} onDismiss={dismiss} />}
        <div class="modal-foot">
          <Button onClick={onClose}>{say('cancel')}</Button>
          <Button kind="danger-solid" type="submit" isBusy={isBusy} disabled={typed !== name}>
            {say('key.revoke')}
          </Button>
        </div>
      </form>
    </Modal>
  )
}

function UsageSum({ of: { usageStats } }: { of: Key }) {
  const { totalRequests, failedRequests } = usageStats
  return (
    <span class="muted small">
      {say('key.total', { n: totalRequests, refused: failedRequests })}
    </span>
  )
}

function Outcomes({ usage }: { usage: KeyUsage | undefined }) {
  if (usage === undefined) return <Skeleton rows={1} height={150} />
  if (usage.usage.length === 0) return <p class="nothing">{say('key.unused')}</p>
  const hours = usage.usage.map(({ start, requests, outcomes }) => ({
    start,
    requests,
    refused: requests - (outcomes.OK ?? 0),
  }))
  const sums = new Map<string, number>()
  for (const { outcomes } of usage.usage)
    for (const [outcome, count] of Object.entries(outcomes))
      sums.set(outcome, (sums.get(outcome) ?? 0) + count)
  return (
    <>
      <Chart
        bars={lastHours(hours, HOURS, Date.now())}
        label={say('key.chart', { hours: HOURS })}
      />
      <p class="chips">
        {[...sums].map(([outcome, count]) => (
          <Chip key={outcome} tone={outcome === 'OK' ? 'ok' : 'bad'}>
            {outcome} {formatNumber(count)}
          </Chip>
        ))}
      </p>
    </>
  )
}

/** What is reserved of each daily amount, as a bar and in figures. */
function Spent({ of, usage }: { of: Key; usage: KeyUsage | undefined }) {
  const daily = Object.entries(of.maxAmountIn ?? {}).filter(
    ([, { perDay }]) => perDay !== undefined,
  )
  if (daily.length === 0) return <p class="nothing">{say('key.noDaily')}</p>
  return (
    <ul class="meters">
      {daily.map(([token, { perDay = '1' }]) => {
        const spent = usage?.spentToday[token] ?? '0'
        const share = Number((BigInt(spent) * 1000n) / BigInt(perDay)) / 1000
        return (
          <li key={token}>
            <span class="meter-text">
              <span>{amountIn(token, spent)}</span>
              <span class="muted">{say('key.of', { amount: tokenAmount(token, perDay) })}</span>
            </span>
            <meter
              min={0}
              max={1}
              high={0.8}
              value={share}
              aria-label={say('key.spentOf', { token: tokenAmount(token, perDay) })}
            />
          </li>
        )
      })}
    </ul>
  )
}

/** Where a key was used from. What was first seen in the last day, on a key that is older, is marked. */
function Sightings({ of, seen }: { of: Key; seen: readonly Sighting[] | undefined }) {
  if (seen === undefined) return <Skeleton rows={2} height={36} />
  if (seen.length === 0) return <p class="nothing">{say('never')}</p>
  const now = Date.now()
  const isOld = now - Date.parse(of.createdAt) > DAY_MS
  const first = seen.reduce(
    (least, { firstSeenAt }) => (firstSeenAt < least ? firstSeenAt : least),
    '~',
  )
  return (
    <ul class="sightings">
      {seen.map(({ value, requests, firstSeenAt, lastSeenAt }) => (
        <li key={value}>
          <span class="mono sighting" title={value}>
            {value}
          </span>
          {(isOld || firstSeenAt !== first) && now - Date.parse(firstSeenAt) < DAY_MS && (
            <Chip tone="warn">{say('new')}</Chip>
          )}
          <span class="grow" />
          <span class="muted small">
            {say('requests', { n: requests })} · <Time at={lastSeenAt} />
          </span>
        </li>
      ))}
    </ul>
  )
}

function List({ items }: { items: readonly string[] }) {
  return (
    <span class="stack">
      {items.map((item) => (
        <code class="mono break" key={item}>
          {item}
        </code>
      ))}
    </span>
  )
}

/** The form of an existing key, with what would change shown as it will be signed. */
export function ChangeKeyView({ keyId }: { keyId: string }) {
  useStore(tokensLearned)
  const info = useStore(service)
  const key = useLoad(
    async (signal) => {
      const found = await reader().keys.get(keyId, { signal })
      await Promise.all(Object.keys(found.maxAmountIn ?? {}).map(requireDecimals))
      return found
    },
    [keyId],
  )
  if (key.error !== undefined) return <Problem error={key.error} onRetry={key.reload} />
  if (info === undefined || key.value === undefined) return <Skeleton />
  return <ChangeForm of={key.value} info={info} />
}

function ChangeForm({ of, info }: { of: Key; info: ServiceInfo }) {
  const [draft, setDraft] = useState<KeyDraft>()
  const address = useStore(connection)?.address ?? ''
  const policy = termsPolicyOf(info)
  const original = readDraft(draftOfKey(of, decimalsOf), decimalsOf, policy)
  const edited = draft ?? draftOfKey(of, decimalsOf)
  const read = readDraft(edited, decimalsOf, policy)
  const differences = differencesOf(original, read)
  const faults = new Set(
    [...read.faults].filter((term) => differences.some((one) => one.term === term)),
  )
  const { isBusy, error, run, dismiss } = useAct(async () => {
    const settled = await readWhenKnown(edited, info)
    const changes = differencesOf(original, settled)
    if (changes.some(({ term }) => settled.faults.has(term)))
      return void requestAnimationFrame(focusFirstFault)
    await owner().keys.update(of.keyId, changeOf(changes))
    announceChange()
    toast(say('change.done', { name: settled.terms.name }))
    go(`keys/${of.keyId}`)
  })
  const submit = (event: Event) => {
    event.preventDefault()
    if (faults.size > 0) focusFirstFault()
    else if (differences.length > 0) run()
  }
  return (
    <>
      <PageHead back={[`#/keys/${of.keyId}`, of.name]} title={say('change.title')} />
      {differences.length === 0 && of.status !== 'active' && of.status !== 'suspended' && (
        <Empty icon="key" title={say('change.ended')} text={say('change.ended.text')} />
      )}
      <form class="split" onSubmit={submit} noValidate>
        <div class="card form">
          <KeyForm
            draft={edited}
            faults={faults}
            info={info}
            address={address}
            onChange={setDraft}
          />
        </div>
        <aside class="aside">
          <Card title={say('change.diff')}>
            {differences.length === 0 ? (
              <p class="nothing">{say('change.none')}</p>
            ) : (
              <ul class="diff">
                {differences.map(({ term, before, after }) => (
                  <li key={term}>
                    <span class="eyebrow">{say(`term.${term}`)}</span>
                    <del>{termText(term, before)}</del>
                    <ins>{termText(term, after)}</ins>
                  </li>
                ))}
              </ul>
            )}
            <p class="sentence">{sentenceOf(read.terms)}</p>
            <RiskMeter read={read} />
            {error !== undefined && <Problem error={error} onDismiss={dismiss} />}
            <Button
              kind="primary"
              type="submit"
              icon="wallet"
              isBusy={isBusy}
              disabled={differences.length === 0}
            >
              {say('change.sign')}
            </Button>
          </Card>
        </aside>
      </form>
    </>
  )
}

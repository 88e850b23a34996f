import { useState } from 'preact/hooks'
import type { Key, KeyStatus, UsageOfKey } from '../client/index.ts'
import { lastDays, Spark } from './bars.tsx'
import { reader } from './clients.ts'
import { TEMPLATES } from './draft.ts'
import { formatDate, formatNumber } from './format.ts'
import { say } from './language.ts'
import { useLoad } from './load.ts'
import {
  Button,
  Chip,
  type Column,
  Empty,
  Icon,
  KeyStatusChip,
  LinkButton,
  PageHead,
  Segments,
  Skeleton,
  Table,
  Time,
} from './parts.tsx'
import { Problem } from './problem.tsx'
import { useStore } from './store.ts'
import { tokenAmount, tokenName, tokensLearned } from './tokens.ts'

const DAYS = 30
const ENDED_PAGE = 100
const FILTERS = {
  live: ['active'],
  suspended: ['suspended'],
  ended: ['revoked', 'expired'],
} as const satisfies Record<string, readonly KeyStatus[]>
type Filter = keyof typeof FILTERS

/** All keys of the wallet, with how they were used. */
export function KeysView() {
  useStore(tokensLearned)
  const [filter, setFilter] = useState<Filter>('live')
  const [search, setSearch] = useState('')
  const [pages, setPages] = useState(1)
  const keys = useLoad((signal) => reader().keys.list({ live: true, signal }), [], {
    isLive: true,
  })
  const ended = useLoad((signal) => readEnded(pages * ENDED_PAGE, signal), [pages], {
    isLive: true,
  })
  const usage = useLoad((signal) => reader().keys.usageOfAll({ days: DAYS }, { signal }), [], {
    isLive: true,
  })
  const all = keys.value && ended.value && [...keys.value, ...ended.value.found]
  const error = keys.error ?? ended.error
  const reload = () => {
    keys.reload()
    ended.reload()
  }
  const isIn = (key: Key, name: Filter) =>
    (FILTERS[name] as readonly KeyStatus[]).includes(key.status)
  const count = (name: Filter) => all?.filter((key) => isIn(key, name)).length ?? 0
  const wanted = search.trim().toLowerCase()
  const shown = all?.filter(
    (key) =>
      isIn(key, filter) &&
      `${key.name} ${key.keyPreview} ${key.keyId}`.toLowerCase().includes(wanted),
  )
  const usageOf = new Map(usage.value?.keys.map((one) => [one.keyId, one]))
  if (all?.length === 0 && error === undefined) return <NoKeys />
  return (
    <>
      <PageHead title={say('keys.title')} text={say('keys.text')}>
        <LinkButton kind="primary" icon="plus" href="#/keys/new">
          {say('keys.create')}
        </LinkButton>
      </PageHead>
      <Sums live={count('live')} usage={usage.value?.keys} isLoaded={all !== undefined} />
      <div class="toolbar">
        <Segments
          label={say('filter')}
          value={filter}
          onChange={setFilter}
          options={(Object.keys(FILTERS) as Filter[]).map((name) => [
            name,
            <>
              {say(`filter.${name}`)}{' '}
              {all && (
                <span class="count">
                  {count(name)}
                  {name === 'ended' && ended.value?.hasMore && '+'}
                </span>
              )}
            </>,
          ])}
        />
        <input
          type="search"
          class="search"
          value={search}
          aria-label={say('keys.search')}
          placeholder={say('keys.search')}
          onInput={(event) => setSearch(event.currentTarget.value)}
        />
      </div>
      {error !== undefined && <Problem error={error} onRetry={reload} />}
      {shown === undefined ? (
        error === undefined && <Skeleton rows={4} height={64} />
      ) : shown.length === 0 ? (
        <p class="nothing">{say(wanted === '' ? `keys.none.${filter}` : 'keys.noMatch')}</p>
      ) : (
        <Table
          label={say('keys.title')}
          columns={columnsWith(usageOf)}
          rows={shown}
          keyOf={(key) => key.keyId}
        />
      )}
      {filter === 'ended' && ended.value?.hasMore && (
        <div class="more-rows">
          <Button onClick={() => setPages(pages + 1)}>{say('more')}</Button>
        </div>
      )}
    </>
  )
}

/** The newest ended keys. Live ones are bounded by the service; a wallet may have any number of these. */
async function readEnded(count: number, signal: AbortSignal) {
  const found: Key[] = []
  for await (const key of reader().keys.listAll({ live: false, signal })) {
    if (found.length === count) return { found, hasMore: true }
    found.push(key)
  }
  return { found, hasMore: false }
}

function columnsWith(usageOf: ReadonlyMap<string, UsageOfKey>): Column<Key>[] {
  return [
    {
      name: 'column.name',
      isMain: true,
      cell: (key) => (
        <>
          <a class="row-link" href={`#/keys/${key.keyId}`}>
            {key.name}
          </a>
          <code class="mono muted small">{key.keyPreview}</code>
        </>
      ),
    },
    { name: 'column.status', cell: (key) => <KeyStatusChip status={key.status} /> },
    {
      name: 'column.may',
      cell: (key) => (
        <span class="chips">
          {key.permissions.length === 0 && <Chip>{say('reads')}</Chip>}
          {key.permissions.map((scope) => (
            <Chip key={scope}>{scope}</Chip>
          ))}
        </span>
      ),
    },
    { name: 'column.limits', cell: (key) => <LimitChips of={key} /> },
    {
      name: 'column.usage',
      cell: (key) => (
        <Spark bars={lastDays(usageOf.get(key.keyId)?.days ?? [], DAYS, Date.now())} />
      ),
    },
    {
      name: 'column.used',
      cell: (key) =>
        key.lastUsedAt === undefined ? (
          <span class="muted">{say('never')}</span>
        ) : (
          <span class="stack">
            <Time at={key.lastUsedAt} />
            {usageOf.get(key.keyId)?.lastAddress && (
              <code class="mono muted small">{usageOf.get(key.keyId)?.lastAddress}</code>
            )}
          </span>
        ),
    },
    {
      name: 'column.expires',
      cell: (key) =>
        key.expiresAt === undefined ? (
          <Chip tone="warn">{say('never')}</Chip>
        ) : (
          <span class="nowrap" title={key.expiresAt}>
            {formatDate(key.expiresAt)}
          </span>
        ),
    },
  ]
}

/** What narrows a key, or that nothing does. */
export function LimitChips({ of, areAll = false }: { of: Key; areAll?: boolean }) {
  const { ipAllowlist, tokens, maxAmountIn, recipients, ownOrdersOnly, maxOpenOrders } = of
  const amounts = Object.entries(maxAmountIn ?? {}).map(([token, { perDay, perOrder }]) =>
    perDay !== undefined
      ? say('amount.perDay', { amount: tokenAmount(token, perDay) })
      : perOrder !== undefined
        ? say('amount.perOrder', { amount: tokenAmount(token, perOrder) })
        : tokenName(token),
  )
  const texts = [
    ...amounts,
    ...(ipAllowlist === undefined ? [] : [say('chip.addresses', { n: ipAllowlist.length })]),
    ...(tokens === undefined ? [] : [say('chip.tokens', { n: tokens.length })]),
    ...(recipients === undefined ? [] : [say('chip.recipients', { n: recipients.length })]),
    ...(ownOrdersOnly ? [say('chip.own')] : []),
    ...(maxOpenOrders === undefined ? [] : [say('chip.open', { n: maxOpenOrders })]),
  ]
  if (texts.length === 0) return <Chip tone="warn">{say('chip.none')}</Chip>
  const shown = areAll ? texts : texts.slice(0, 2)
  const rest = texts.slice(shown.length)
  return (
    <span class="chips">
      {shown.map((text) => (
        <Chip key={text}>{text}</Chip>
      ))}
      {rest.length > 0 && <Chip title={rest.join(', ')}>{`+${rest.length}`}</Chip>}
    </span>
  )
}

function Sums(props: {
  live: number
  usage: readonly UsageOfKey[] | undefined
  isLoaded: boolean
}) {
  const days = props.usage?.flatMap((one) => one.days) ?? []
  const sum = (of: 'requests' | 'refused') => days.reduce((total, day) => total + day[of], 0)
  const facts: readonly (readonly [string, number | undefined])[] = [
    [say('sums.live'), props.isLoaded ? props.live : undefined],
    [say('sums.requests', { days: DAYS }), props.usage && sum('requests')],
    [say('sums.refused', { days: DAYS }), props.usage && sum('refused')],
  ]
  return (
    <dl class="sums">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value === undefined ? <span class="ghost" /> : formatNumber(value)}</dd>
        </div>
      ))}
    </dl>
  )
}

function NoKeys() {
  return (
    <>
      <PageHead title={say('keys.title')} text={say('keys.text')} />
      <Empty icon="key" title={say('keys.empty')} text={say('keys.empty.text')}>
        <ul class="templates">
          {TEMPLATES.map((template) => (
            <li key={template}>
              <a href={`#/keys/new?template=${template}`}>
                <Icon name={template === 'blank' ? 'plus' : 'key'} />
                <strong>{say(`template.${template}`)}</strong>
                <span class="muted small">{say(`template.${template}.text`)}</span>
              </a>
            </li>
          ))}
        </ul>
      </Empty>
    </>
  )
}

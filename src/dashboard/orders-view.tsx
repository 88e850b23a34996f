import { useState } from 'preact/hooks'
import type { Order, OrderStatus, ServiceInfo } from '../client/index.ts'
import { owner, reader } from './clients.ts'
import { connection, service } from './connection.ts'
import { contractName, formatTime, readAmount } from './format.ts'
import { TokenInput } from './key-form.tsx'
import { say } from './language.ts'
import { announceChange, useAct, useLoad } from './load.ts'
import { focusFirstFault } from './new-key.tsx'
import {
  Button,
  Card,
  type Column,
  CopyButton,
  Empty,
  Facts,
  Field,
  Icon,
  LinkButton,
  Mono,
  OrderStatusChip,
  PageHead,
  Segments,
  Skeleton,
  Table,
  Time,
} from './parts.tsx'
import { Problem } from './problem.tsx'
import { go } from './router.ts'
import { useStore } from './store.ts'
import { toast } from './toasts.tsx'
import {
  decimalsOf,
  isUnknownToken,
  requireDecimals,
  tokenAmount,
  tokenName,
  tokenSymbol,
  tokensLearned,
} from './tokens.ts'

const PAGE = 50
const STATUSES = {
  all: undefined,
  open: 'open',
  confirmed: 'confirmed',
  failed: 'failed',
  cancelled: 'cancelled',
} as const satisfies Record<string, OrderStatus | undefined>
type StatusFilter = keyof typeof STATUSES

export function OrdersView() {
  useStore(tokensLearned)
  const address = useStore(connection)?.address ?? ''
  const [filter, setFilter] = useState<StatusFilter>('all')
  const [pages, setPages] = useState(1)
  const orders = useLoad(
    async (signal) => {
      const status = STATUSES[filter]
      const all = { owner: address, limit: PAGE, ...(status && { status }) }
      const found: Order[] = []
      let cursor: string | undefined
      for (let page = 0; page < pages; page++) {
        const next = await reader().orders.list(cursor ? { ...all, cursor } : all, { signal })
        found.push(...next.orders)
        cursor = next.nextCursor
        if (cursor === undefined) break
      }
      return { found, hasMore: cursor !== undefined }
    },
    [address, filter, pages],
    { isLive: true },
  )
  const shown = orders.value?.found
  if (shown?.length === 0 && filter === 'all' && orders.error === undefined) return <NoOrders />
  return (
    <>
      <PageHead title={say('orders.title')} text={say('orders.text')}>
        <LinkButton kind="primary" icon="plus" href="#/orders/new">
          {say('orders.create')}
        </LinkButton>
      </PageHead>
      <div class="toolbar">
        <Segments
          label={say('filter')}
          value={filter}
          onChange={(next) => {
            setFilter(next)
            setPages(1)
          }}
          options={(Object.keys(STATUSES) as StatusFilter[]).map((name) => [
            name,
            name === 'all' ? say('filter.all') : say(`order.${name}`),
          ])}
        />
      </div>
      {orders.error !== undefined && <Problem error={orders.error} onRetry={orders.reload} />}
      {shown === undefined ? (
        orders.error === undefined && <Skeleton rows={5} height={64} />
      ) : shown.length === 0 ? (
        <p class="nothing">{say('orders.none')}</p>
      ) : (
        <Table
          label={say('orders.title')}
          columns={COLUMNS}
          rows={shown}
          keyOf={(order) => order.uuid ?? order.createdAt}
        />
      )}
      {orders.value?.hasMore && (
        <div class="more-rows">
          <Button onClick={() => setPages(pages + 1)}>{say('more')}</Button>
        </div>
      )}
    </>
  )
}

const COLUMNS: readonly Column<Order>[] = [
  {
    name: 'column.swap',
    isMain: true,
    cell: (order) => (
      <>
        <a class="row-link" href={`#/orders/${order.uuid ?? ''}`}>
          {tokenAmount(order.inputToken, order.amountIn)} → {tokenSymbol(order.outputToken)}
        </a>
        <code class="mono muted small">{order.uuid?.slice(0, 8)}…</code>
      </>
    ),
  },
  { name: 'column.status', cell: ({ status }) => <OrderStatusChip status={status} /> },
  {
    name: 'column.least',
    cell: ({ minAmountOut, outputToken }) =>
      minAmountOut === undefined ? (
        <span class="muted">{say('order.noLeast')}</span>
      ) : (
        tokenAmount(outputToken, minAmountOut)
      ),
  },
  {
    name: 'column.got',
    cell: ({ amountOut, outputToken }) =>
      amountOut === undefined ? <span class="muted">–</span> : tokenAmount(outputToken, amountOut),
  },
  { name: 'column.created', cell: ({ createdAt }) => <Time at={createdAt} /> },
  {
    name: 'column.until',
    cell: ({ validTo, deadline }) => {
      const until = validTo ?? deadline
      return until === undefined ? <span class="muted">{say('never')}</span> : <Time at={until} />
    },
  },
]

function NoOrders() {
  return (
    <>
      <PageHead title={say('orders.title')} text={say('orders.text')} />
      <Empty icon="swap" title={say('orders.empty')} text={say('orders.empty.text')}>
        <div class="actions center">
          <LinkButton kind="primary" icon="plus" href="#/orders/new">
            {say('orders.create')}
          </LinkButton>
          <LinkButton icon="wallet" href="#/funds">
            {say('funds')}
          </LinkButton>
        </div>
      </Empty>
    </>
  )
}

interface OrderForm {
  inputToken: string
  outputToken: string
  amount: string
  least: string
  recipient: string
  hours: string
}
type OrderField = keyof OrderForm

export function NewOrderView() {
  const info = useStore(service)
  return info === undefined ? <Skeleton /> : <NewOrderForm info={info} />
}

function NewOrderForm({ info }: { info: ServiceInfo }) {
  useStore(tokensLearned)
  const address = useStore(connection)?.address ?? ''
  const [isTried, setTried] = useState(false)
  const [form, setForm] = useState<OrderForm>({
    inputToken: info.devnet?.inputToken ?? '',
    outputToken: info.devnet?.outputToken ?? '',
    amount: '',
    least: '',
    recipient: '',
    hours: '24',
  })
  const set = (part: Partial<OrderForm>) => setForm({ ...form, ...part })
  const commits = info.routers?.some((router) => router.commits) === true
  const found = faultsOfOrder(form, commits)
  const fault = (field: OrderField) =>
    isTried && found.has(field) ? say(`order.fault.${field}`) : undefined
  const { isBusy, error, run, dismiss } = useAct(async () => {
    const [from, to] = await Promise.all([
      requireDecimals(form.inputToken),
      requireDecimals(form.outputToken),
    ])
    // What could not be judged before the decimals were known.
    if (faultsOfOrder(form, commits).size > 0) return void requestAnimationFrame(focusFirstFault)
    const order = await owner().orders.create({
      inputToken: form.inputToken,
      outputToken: form.outputToken,
      amountIn: readAmount(form.amount, from) ?? '',
      ...(commits && { minAmountOut: readAmount(form.least, to) ?? '' }),
      ...(form.recipient !== '' && { recipient: form.recipient }),
      validTo: new Date(Date.now() + Number(form.hours) * 3_600_000).toISOString(),
    })
    announceChange()
    toast(say('order.created'))
    go(`orders/${order.uuid ?? ''}`)
  })
  const submit = (event: Event) => {
    event.preventDefault()
    setTried(true)
    if (found.size === 0) run()
    else requestAnimationFrame(focusFirstFault)
  }
  const { inputToken, outputToken } = info.devnet ?? {}
  const tokens = [inputToken, outputToken].filter((token) => token !== undefined)
  return (
    <>
      <PageHead
        back={['#/orders', say('orders.title')]}
        title={say('order.new')}
        text={say('order.new.text')}
      />
      <form class="split" onSubmit={submit} noValidate>
        <div class="card form">
          <fieldset class="group">
            <legend>{say('order.pay')}</legend>
            <div class="pair">
              <Field label={say('token')} error={fault('inputToken')}>
                {(attributes) => (
                  <TokenInput
                    {...attributes}
                    tokens={tokens}
                    value={form.inputToken}
                    onChange={(token) => set({ inputToken: token })}
                  />
                )}
              </Field>
              <Field label={say('amount')} error={fault('amount')} help={unitHelp(form.inputToken)}>
                {(attributes) => (
                  <input
                    {...attributes}
                    inputMode="decimal"
                    autocomplete="off"
                    placeholder="1"
                    value={form.amount}
                    onInput={(event) => set({ amount: event.currentTarget.value })}
                  />
                )}
              </Field>
            </div>
          </fieldset>
          <fieldset class="group">
            <legend>{say('order.get')}</legend>
            <div class="pair">
              <Field label={say('token')} error={fault('outputToken')}>
                {(attributes) => (
                  <TokenInput
                    {...attributes}
                    tokens={tokens}
                    value={form.outputToken}
                    onChange={(token) => set({ outputToken: token })}
                  />
                )}
              </Field>
              {commits && (
                <Field
                  label={say('order.least')}
                  error={fault('least')}
                  help={say('order.least.help')}
                >
                  {(attributes) => (
                    <input
                      {...attributes}
                      inputMode="decimal"
                      autocomplete="off"
                      placeholder="0.49"
                      value={form.least}
                      onInput={(event) => set({ least: event.currentTarget.value })}
                    />
                  )}
                </Field>
              )}
            </div>
            <Field
              label={say('order.recipient')}
              error={fault('recipient')}
              help={say('order.recipient.help')}
              optional
            >
              {(attributes) => (
                <input
                  {...attributes}
                  class="mono"
                  autocomplete="off"
                  spellcheck={false}
                  placeholder={address}
                  value={form.recipient}
                  onInput={(event) => set({ recipient: event.currentTarget.value.trim() })}
                />
              )}
            </Field>
          </fieldset>
          <fieldset class="group">
            <legend>{say('order.valid')}</legend>
            <Segments
              label={say('order.valid')}
              value={form.hours}
              onChange={(hours) => set({ hours })}
              options={[
                ['1', say('hours', { n: 1 })],
                ['24', say('hours', { n: 24 })],
                ['168', say('days', { n: 7 })],
                ['720', say('days', { n: 30 })],
              ]}
            />
          </fieldset>
        </div>
        <aside class="aside">
          <Card title={say('new.summary')}>
            <p class="sentence" aria-live="polite">
              {say('order.sentence', {
                amount: `${form.amount || '…'} ${tokenSymbol(form.inputToken)}`,
                least: commits ? `${form.least || '…'} ${tokenSymbol(form.outputToken)}` : '…',
                token: contractName(form.outputToken),
              })}
            </p>
            {!commits && <p class="note warn">{say('order.uncommitted')}</p>}
            {error !== undefined && <Problem error={error} onDismiss={dismiss} />}
            <Button kind="primary" type="submit" icon="wallet" isBusy={isBusy}>
              {say('order.sign')}
            </Button>
          </Card>
        </aside>
      </form>
    </>
  )
}

function unitHelp(token: string): string {
  return isUnknownToken(token) ? say('amount.smallest') : ''
}

/** Whether a text is an amount of a token. Any number may be one until the token's decimals are known. */
function mayBeAmount(text: string, token: string): boolean {
  const [, places = ''] = text.trim().split(/[.,]/)
  return readAmount(text, decimalsOf(token) ?? places.length) !== undefined
}

function faultsOfOrder(form: OrderForm, commits: boolean): ReadonlySet<OrderField> {
  const { inputToken, outputToken, amount, least, recipient } = form
  const contract = /^S[A-Z0-9]{20,50}\.[A-Za-z][A-Za-z0-9-]*$/
  const faults: readonly (readonly [OrderField, boolean])[] = [
    ['inputToken', !contract.test(inputToken)],
    ['outputToken', outputToken !== '.stx' && !contract.test(outputToken)],
    ['outputToken', outputToken === inputToken],
    ['amount', !mayBeAmount(amount, inputToken)],
    ['least', commits && !mayBeAmount(least, outputToken)],
    ['recipient', recipient !== '' && !/^S[A-Z0-9]{20,50}$/.test(recipient)],
  ]
  return new Set(faults.filter(([, isFault]) => isFault).map(([field]) => field))
}

export function OrderView({ uuid }: { uuid: string }) {
  useStore(tokensLearned)
  const order = useLoad((signal) => reader().orders.get(uuid, { signal }), [uuid], { isLive: true })
  const info = useStore(service)
  const address = useStore(connection)?.address
  const one = order.value
  if (one === undefined)
    return order.error === undefined ? (
      <Skeleton rows={4} height={80} />
    ) : (
      <>
        <PageHead back={['#/orders', say('orders.title')]} title={say('order.title')} />
        <Problem error={order.error} onRetry={order.reload} />
      </>
    )
  const explorer =
    one.txid === undefined ? undefined : info?.explorerUrl?.replace('{txid}', one.txid)
  return (
    <>
      <PageHead
        back={['#/orders', say('orders.title')]}
        title={
          <>
            {tokenAmount(one.inputToken, one.amountIn)} → {tokenSymbol(one.outputToken)}{' '}
            <OrderStatusChip status={one.status} />
          </>
        }
        text={<Mono text={uuid} short={false} />}
      >
        {one.owner === address && <OrderActions of={one} uuid={uuid} />}
      </PageHead>
      {order.error !== undefined && <Problem error={order.error} onRetry={order.reload} />}
      <div class="grid">
        <Card title={say('order.timeline')}>
          <Timeline of={one} />
        </Card>
        <Card title={say('order.terms')}>
          <Facts
            facts={[
              [say('order.pay'), tokenAmount(one.inputToken, one.amountIn)],
              [say('token'), tokenName(one.inputToken)],
              [
                say('order.least'),
                one.minAmountOut === undefined
                  ? say('order.noLeast')
                  : tokenAmount(one.outputToken, one.minAmountOut),
              ],
              [
                say('column.got'),
                one.amountOut === undefined ? '–' : tokenAmount(one.outputToken, one.amountOut),
              ],
              [say('order.recipient'), <Mono text={one.recipient} key="to" />],
              ...(one.deadline === undefined
                ? []
                : ([[say('order.deadline'), formatTime(one.deadline)]] as const)),
              ...(one.txid === undefined
                ? []
                : ([
                    [
                      say('order.txid'),
                      <span class="menu-address" key="txid">
                        <Mono text={one.txid} />
                        <CopyButton text={one.txid} label={say('order.txid')} />
                        {explorer && (
                          <a href={explorer} target="_blank" rel="noreferrer">
                            {say('order.explorer')}
                          </a>
                        )}
                      </span>,
                    ],
                  ] as const)),
              ...(one.blockHeight === undefined
                ? []
                : ([[say('order.block'), String(one.blockHeight)]] as const)),
            ]}
          />
        </Card>
      </div>
    </>
  )
}

function OrderActions({ of, uuid }: { of: Order; uuid: string }) {
  const execute = useAct(async () => {
    await owner().orders.execute(uuid)
    announceChange()
    toast(say('order.isSent'))
  })
  const cancel = (onChain: boolean) => async () => {
    await owner().orders.cancel(uuid, { onChain })
    announceChange()
    toast(say(onChain ? 'order.isBurnt' : 'order.isCancelled'))
  }
  const here = useAct(cancel(false))
  const onChain = useAct(cancel(true))
  const isOpen = of.status === 'open'
  const canBurn =
    of.burn === undefined && ['open', 'cancelled', 'expired', 'failed'].includes(of.status)
  const failed = [execute, here, onChain].find(({ error }) => error !== undefined)
  return (
    <>
      {isOpen && (
        <>
          <Button kind="primary" isBusy={execute.isBusy} onClick={execute.run}>
            {say('order.execute')}
          </Button>
          <Button isBusy={here.isBusy} onClick={here.run}>
            {say('order.cancel')}
          </Button>
        </>
      )}
      {canBurn && (
        <Button kind="danger" isBusy={onChain.isBusy} onClick={onChain.run}>
          {say('order.burn')}
        </Button>
      )}
      {failed && <Problem error={failed.error} onDismiss={failed.dismiss} />}
    </>
  )
}

/** What happened to an order, and what comes next while something does. */
function Timeline({ of }: { of: Order }) {
  const steps: readonly (readonly [text: string, at: string | undefined, tone: string])[] = [
    [say('order.step.created'), of.createdAt, 'ok'],
    [say('order.step.executed'), of.executedAt, 'ok'],
    [say('order.step.confirmed', { block: of.blockHeight ?? '' }), of.confirmedAt, 'ok'],
    [say('order.step.cancelled'), of.cancelledAt, 'plain'],
    [`${say('order.step.failed')} ${of.failureReason ?? ''}`, of.failedAt, 'bad'],
  ]
  const isUnderway = of.status === 'executing' || of.status === 'broadcasted'
  return (
    <ol class="timeline" aria-live="polite">
      {steps.map(
        ([text, at, tone]) =>
          at !== undefined && (
            <li key={text} class={tone}>
              <span>{text}</span>
              <span class="muted small" title={formatTime(at)}>
                {formatTime(at)}
              </span>
            </li>
          ),
      )}
      {isUnderway && (
        <li class="underway">
          <span>{say(`order.underway.${of.status === 'executing' ? 'sending' : 'mining'}`)}</span>
        </li>
      )}
      {of.status === 'expired' && (
        <li class="plain">
          <span>{say('order.expired')}</span>
        </li>
      )}
      {of.burn && (
        <li class={of.burn === 'mined' ? 'ok' : 'underway'}>
          <span>{say(`order.burn.${of.burn}`)}</span>
        </li>
      )}
      {of.intentExposed && (
        <li class="bad">
          <Icon name="alert" /> <span>{say('order.exposed')}</span>
        </li>
      )}
    </ol>
  )
}

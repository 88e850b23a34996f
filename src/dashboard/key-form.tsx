import { useState } from 'preact/hooks'
import type { ServiceInfo } from '../client/index.ts'
import type { TermName } from '../client/terms.ts'
import { type AmountDraft, DEFAULT_DAYS, dailyTokens, dayAfter, type KeyDraft } from './draft.ts'
import { say, sayIfKnown } from './language.ts'
import { Button, Field, Icon, ListField, Segments } from './parts.tsx'
import { AlertsField, HeartbeatField } from './rules-fields.tsx'
import { isUnknownToken, tokenName } from './tokens.ts'

const DAYS = [7, 30, DEFAULT_DAYS] as const
type Expiry = `${(typeof DAYS)[number]}` | 'custom' | 'none'

/** The terms of a key, to be edited. Each fault is beside its field. */
export function KeyForm(props: {
  draft: KeyDraft
  faults: ReadonlySet<TermName>
  info: ServiceInfo
  address: string
  onChange: (draft: KeyDraft) => void
}) {
  const { draft, faults, info, address } = props
  const set = (part: Partial<KeyDraft>) => props.onChange({ ...draft, ...part })
  const faultText = (term: TermName) => (faults.has(term) ? faultOfTerm(term, info) : undefined)
  const tokens = tokensOf(info, draft)
  return (
    <>
      <fieldset class="group">
        <legend>{say('form.what')}</legend>
        <Field label={say('term.name')} error={faultText('name')} help={say('term.name.help')}>
          {(attributes) => (
            <input
              {...attributes}
              value={draft.name}
              maxLength={64}
              autocomplete="off"
              required
              onInput={(event) => set({ name: event.currentTarget.value })}
            />
          )}
        </Field>
        <fieldset class="permissions">
          <legend>{say('term.permissions')}</legend>
          {info.scopes.map((scope) => (
            <label class="permission" key={scope}>
              <input
                type="checkbox"
                checked={draft.permissions.includes(scope)}
                onChange={(event) =>
                  set({
                    permissions: info.scopes.filter((one) =>
                      one === scope ? event.currentTarget.checked : draft.permissions.includes(one),
                    ),
                  })
                }
              />
              <span>
                <strong>{scope}</strong>
                <span class="muted small">
                  {sayIfKnown(`scope.${scope}`) ?? say('scope.other')}
                </span>
              </span>
            </label>
          ))}
        </fieldset>
        {faultText('permissions') && <p class="fault">{faultText('permissions')}</p>}
      </fieldset>

      <fieldset class="group">
        <legend>{say('form.until')}</legend>
        <ExpiryField
          lastDay={draft.lastDay}
          error={faultText('expiresAt')}
          onChange={(lastDay) => set({ lastDay })}
        />
      </fieldset>

      <fieldset class="group">
        <legend>{say('form.where')}</legend>
        <ListField
          label={say('term.ipAllowlist')}
          help={say('term.ipAllowlist.help')}
          error={faultText('ipAllowlist')}
          items={draft.ipAllowlist}
          placeholder="203.0.113.50"
          onChange={(ipAllowlist) => set({ ipAllowlist })}
        >
          {info.callerAddress && !draft.ipAllowlist.includes(info.callerAddress) && (
            <button
              type="button"
              class="suggest"
              onClick={() => set({ ipAllowlist: [...draft.ipAllowlist, info.callerAddress ?? ''] })}
            >
              <Icon name="plus" size={14} /> {say('term.ipAllowlist.mine')}{' '}
              <span class="mono">{info.callerAddress}</span>
            </button>
          )}
        </ListField>
      </fieldset>

      <fieldset class="group">
        <legend>{say('form.spend')}</legend>
        <AmountsField
          amounts={draft.amounts}
          tokens={tokens}
          error={faultText('maxAmountIn')}
          onChange={(amounts) => set({ amounts })}
        />
        <ListField
          label={say('term.tokens')}
          help={say('term.tokens.help')}
          error={faultText('tokens')}
          items={draft.tokens}
          suggestions={tokens}
          placeholder="SP….token"
          onChange={(items) => set({ tokens: items })}
        />
        <ListField
          label={say('term.recipients')}
          help={say('term.recipients.help')}
          error={faultText('recipients')}
          items={draft.recipients}
          placeholder={`${address.slice(0, 4)}…`}
          onChange={(recipients) => set({ recipients })}
        />
      </fieldset>

      <details class="group more" open={hasRules(draft, faults)}>
        <summary>{say('form.watch')}</summary>
        <HeartbeatField
          rules={draft.rules}
          error={faultText('heartbeat')}
          onChange={(rules) => set({ rules })}
        />
        <AlertsField
          rules={draft.rules}
          daily={dailyTokens(draft)}
          error={faultText('alerts')}
          onChange={(rules) => set({ rules })}
        />
      </details>

      <details class="group more" open={hasMore(draft, faults)}>
        <summary>{say('form.more')}</summary>
        <label class="check">
          <input
            type="checkbox"
            checked={draft.ownOrdersOnly}
            onChange={(event) => set({ ownOrdersOnly: event.currentTarget.checked })}
          />
          <span>
            {say('term.ownOrdersOnly')}
            <span class="muted small">{say('term.ownOrdersOnly.help')}</span>
          </span>
        </label>
        {faultText('ownOrdersOnly') && <p class="fault">{faultText('ownOrdersOnly')}</p>}
        <div class="pair">
          <Field label={say('term.maxOpenOrders')} error={faultText('maxOpenOrders')} optional>
            {(attributes) => (
              <input
                {...attributes}
                inputMode="numeric"
                value={draft.maxOpenOrders}
                onInput={(event) => set({ maxOpenOrders: event.currentTarget.value })}
              />
            )}
          </Field>
          <Field
            label={say('term.rateLimit')}
            error={faultText('rateLimit')}
            help={say('term.rateLimit.help', { most: info.limits.key.perMinute })}
            optional
          >
            {(attributes) => (
              <input
                {...attributes}
                inputMode="numeric"
                value={draft.rateLimit}
                onInput={(event) => set({ rateLimit: event.currentTarget.value })}
              />
            )}
          </Field>
        </div>
        <Field label={say('term.label')} error={faultText('label')} optional>
          {(attributes) => (
            <input
              {...attributes}
              value={draft.label}
              maxLength={200}
              onInput={(event) => set({ label: event.currentTarget.value })}
            />
          )}
        </Field>
      </details>
    </>
  )
}

function hasRules({ rules }: KeyDraft, faults: ReadonlySet<TermName>): boolean {
  return (
    rules.onSilence !== '' ||
    Object.values(rules.actions).some((action) => action !== '') ||
    faults.has('heartbeat') ||
    faults.has('alerts')
  )
}

function hasMore(draft: KeyDraft, faults: ReadonlySet<TermName>): boolean {
  return (
    draft.ownOrdersOnly ||
    draft.maxOpenOrders !== '' ||
    draft.label !== '' ||
    faults.has('ownOrdersOnly') ||
    faults.has('rateLimit')
  )
}

function faultOfTerm(term: TermName, info: ServiceInfo): string {
  return say(`term.${term}.fault`, { most: info.limits.key.perMinute, network: info.network })
}

function tokensOf(info: ServiceInfo, draft: KeyDraft): string[] {
  const { inputToken, outputToken } = info.devnet ?? {}
  const all = [inputToken, outputToken, ...draft.tokens, ...draft.amounts.map(({ token }) => token)]
  return [...new Set(all.filter((token) => token !== undefined && token !== ''))] as string[]
}

function ExpiryField(props: {
  lastDay: string
  error: string | undefined
  onChange: (lastDay: string) => void
}) {
  const { lastDay, onChange } = props
  const now = Date.now()
  const preset = DAYS.find((days) => dayAfter(days, now) === lastDay)
  const [isCustom, setCustom] = useState(lastDay !== '' && preset === undefined)
  const value: Expiry = isCustom
    ? 'custom'
    : lastDay === ''
      ? 'none'
      : preset === undefined
        ? 'custom'
        : `${preset}`
  const choose = (next: Expiry) => {
    setCustom(next === 'custom')
    if (next === 'none') onChange('')
    else if (next !== 'custom') onChange(dayAfter(Number(next), now))
    else if (lastDay === '') onChange(dayAfter(DEFAULT_DAYS, now))
  }
  return (
    <>
      <Segments
        label={say('form.until')}
        value={value}
        onChange={choose}
        options={[
          ...DAYS.map((days) => [`${days}`, say('days', { n: days })] as [Expiry, string]),
          ['custom', say('expiry.custom')],
          ['none', say('expiry.none')],
        ]}
      />
      {value === 'custom' && (
        <Field label={say('term.expiresAt')} error={props.error}>
          {(attributes) => (
            <input
              {...attributes}
              type="date"
              value={lastDay}
              onInput={(event) => onChange(event.currentTarget.value)}
            />
          )}
        </Field>
      )}
      {value !== 'custom' && props.error && <p class="fault">{props.error}</p>}
    </>
  )
}

function AmountsField(props: {
  amounts: AmountDraft[]
  tokens: readonly string[]
  error: string | undefined
  onChange: (amounts: AmountDraft[]) => void
}) {
  const { amounts, tokens, error, onChange } = props
  const set = (at: number, part: Partial<AmountDraft>) =>
    onChange(amounts.map((one, index) => (index === at ? { ...one, ...part } : one)))
  const next = tokens.find((token) => !amounts.some((one) => one.token === token)) ?? ''
  return (
    <div class="amounts">
      <span class="label">
        {say('term.maxAmountIn')}
        <span class="optional">{say('optional')}</span>
      </span>
      {amounts.map((amount, at) => (
        <fieldset class="amount" key={at}>
          <legend class="hidden">{say('amount.row', { n: at + 1 })}</legend>
          <Field label={say('token')}>
            {(attributes) => (
              <TokenInput
                {...attributes}
                tokens={tokens}
                value={amount.token}
                onChange={(token) => set(at, { token })}
              />
            )}
          </Field>
          {(['perOrder', 'perDay'] as const).map((name) => (
            <Field key={name} label={say(`limit.${name}`)}>
              {(attributes) => (
                <input
                  {...attributes}
                  aria-invalid={error !== undefined}
                  inputMode="decimal"
                  value={amount[name]}
                  placeholder={say('amount.unbounded')}
                  onInput={(event) => set(at, { [name]: event.currentTarget.value })}
                />
              )}
            </Field>
          ))}
          <button
            type="button"
            class="icon-button"
            aria-label={say('remove', { what: tokenName(amount.token) })}
            onClick={() => onChange(amounts.filter((_, index) => index !== at))}
          >
            ×
          </button>
          {isUnknownToken(amount.token) && <p class="help">{say('amount.smallest')}</p>}
        </fieldset>
      ))}
      {error && <p class="fault">{error}</p>}
      <Button
        icon="plus"
        onClick={() => onChange([...amounts, { token: next, perOrder: '', perDay: '' }])}
      >
        {say('amount.add')}
      </Button>
      <p class="help">{say('term.maxAmountIn.help')}</p>
    </div>
  )
}

/** A token: one of those that are known here, or any contract id. */
export function TokenInput(props: {
  id: string
  'aria-describedby': string | undefined
  'aria-invalid': boolean
  tokens: readonly string[]
  value: string
  onChange: (token: string) => void
}) {
  const { tokens, value, onChange, ...attributes } = props
  const [isTyped, setTyped] = useState(
    tokens.length === 0 || (value !== '' && !tokens.includes(value)),
  )
  if (isTyped)
    return (
      <input
        {...attributes}
        class="mono"
        value={value}
        placeholder="SP….token"
        autocomplete="off"
        spellcheck={false}
        onInput={(event) => onChange(event.currentTarget.value.trim())}
      />
    )
  return (
    <select
      {...attributes}
      value={value}
      onChange={(event) => {
        const chosen = event.currentTarget.value
        setTyped(chosen === 'other')
        onChange(chosen === 'other' ? '' : chosen)
      }}
    >
      {value === '' && <option value="">{say('token.choose')}</option>}
      {tokens.map((token) => (
        <option value={token} key={token}>
          {tokenName(token)}
        </option>
      ))}
      <option value="other">{say('token.other')}</option>
    </select>
  )
}

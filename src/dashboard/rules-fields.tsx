import type { AlertAction, Heartbeat } from '../client/index.ts'
import { say } from './language.ts'
import { Field, Segments } from './parts.tsx'
import { ALERT_NAMES, type AlertName, type RulesDraft } from './rules.ts'
import { tokenName } from './tokens.ts'

interface Props {
  rules: RulesDraft
  error: string | undefined
  onChange: (rules: RulesDraft) => void
}

/** What happens when the key falls silent. */
export function HeartbeatField({ rules, error, onChange }: Props) {
  const { onSilence, silence } = rules
  const effects: readonly ('' | Heartbeat['then'])[] = ['', 'cancel', 'suspend']
  return (
    <>
      <div class="field">
        <span class="label">{say('term.heartbeat')}</span>
        <Segments
          label={say('term.heartbeat')}
          value={onSilence}
          onChange={(next) => onChange({ ...rules, onSilence: next })}
          options={effects.map((effect) => [effect, say(`heartbeat.${effect || 'off'}`)])}
        />
      </div>
      {onSilence !== '' && (
        <Field label={say('heartbeat.seconds')} error={error} help={say('heartbeat.help')}>
          {(attributes) => (
            <input
              {...attributes}
              inputMode="numeric"
              value={silence}
              onInput={(event) => onChange({ ...rules, silence: event.currentTarget.value })}
            />
          )}
        </Field>
      )}
    </>
  )
}

/** What the owner is told of, and what follows. `daily` are the tokens whose spending is counted. */
export function AlertsField(props: Props & { daily: readonly string[] }) {
  const { rules, error, daily, onChange } = props
  const choose = (name: AlertName, action: '' | AlertAction) =>
    onChange({ ...rules, actions: { ...rules.actions, [name]: action } })
  const numbers: Partial<Record<AlertName, readonly ('percent' | 'requests' | 'perMinute')[]>> = {
    errorRate: ['percent', 'requests'],
    requestsPerMinute: ['perMinute'],
  }
  return (
    <fieldset class="alerts">
      <legend class="label">{say('term.alerts')}</legend>
      {ALERT_NAMES.map((name) => (
        <div class="alert-row" key={name}>
          <Field label={say(`alert.${name}`)}>
            {(attributes) => (
              <select
                {...attributes}
                aria-invalid={error !== undefined && rules.actions[name] !== ''}
                value={rules.actions[name]}
                disabled={name === 'spendPerHour' && daily.length === 0}
                onChange={(event) => choose(name, event.currentTarget.value as '' | AlertAction)}
              >
                <option value="">{say('alert.off')}</option>
                <option value="notify">{say('alert.notify')}</option>
                {name !== 'expiring' && <option value="suspend">{say('alert.suspend')}</option>}
              </select>
            )}
          </Field>
          {rules.actions[name] !== '' &&
            numbers[name]?.map((number) => (
              <Field label={say(`alert.${number}`)} key={number}>
                {(attributes) => (
                  <input
                    {...attributes}
                    inputMode="numeric"
                    value={rules[number]}
                    onInput={(event) => onChange({ ...rules, [number]: event.currentTarget.value })}
                  />
                )}
              </Field>
            ))}
          {name === 'spendPerHour' &&
            rules.actions[name] !== '' &&
            daily.map((token) => (
              <Field label={say('alert.above', { token: tokenName(token) })} key={token}>
                {(attributes) => (
                  <input
                    {...attributes}
                    inputMode="decimal"
                    value={rules.spend[token] ?? ''}
                    onInput={(event) =>
                      onChange({
                        ...rules,
                        spend: { ...rules.spend, [token]: event.currentTarget.value },
                      })
                    }
                  />
                )}
              </Field>
            ))}
        </div>
      ))}
      {error && <p class="fault">{error}</p>}
      <p class="help">{say('term.alerts.help')}</p>
    </fieldset>
  )
}

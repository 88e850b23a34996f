import type { ComponentChildren } from 'preact'
import { useEffect, useId, useRef, useState } from 'preact/hooks'
import type { KeyStatus, OrderStatus } from '../client/index.ts'
import { formatDistance, formatTime, shortAddress } from './format.ts'
import { say, type TextName } from './language.ts'
import { useNow } from './load.ts'
import { toast } from './toasts.tsx'

/** Strokes of 24 by 24. */
const ICONS = {
  key: 'M8 19a5 5 0 1 0 0-10 5 5 0 0 0 0 10zm3.6-8.6L20 2m-3.5 3.5 3 3M14 8l2 2',
  plus: 'M12 5v14M5 12h14',
  copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
  check: 'm5 12.5 4.5 4.5L19 7.5',
  alert: 'M12 8.5v5m0 3.2v.1M12 3 2.5 20h19z',
  shield: 'M12 3 4.5 6v6c0 4.5 3.2 7.8 7.5 9 4.3-1.2 7.5-4.5 7.5-9V6z',
  swap: 'M7 7h12m0 0-3.5-3.5M19 7l-3.5 3.5M17 17H5m0 0 3.5-3.5M5 17l3.5 3.5',
  list: 'M8 6h12M8 12h12M8 18h12M4 6h.01M4 12h.01M4 18h.01',
  wallet:
    'M4 7.5h14a2 2 0 0 1 2 2V17a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2zm0 0A2.5 2.5 0 0 1 6.5 5H16v2.500M16 13.300h.01',
  down: 'm7 10 5 5 5-5',
  download: 'M12 4v11m0 0-4-4m4 4 4-4M5 20h14',
  eye: 'M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 14.500a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5z',
  clock: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zm0-14v5l3 2',
  offline:
    'M3 3l18 18M8.5 15.500a5 5 0 0 1 5.5-1M5 12a10 10 0 0 1 4-2.500m4.5-.4A10 10 0 0 1 19 12m-7 7h.01',
  out: 'M10 5H5v14h5m4-3.5 4-3.5-4-3.500M18 12H9',
  link: 'M14 5h5v5m0-5-8 8M11 6H5v13h13v-6',
  stop: 'M8.5 3h7L21 8.500v7L15.5 21h-7L3 15.500v-7zM12 8v5m0 3v.1',
} as const

export type IconName = keyof typeof ICONS

export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg class="icon" width={size} height={size} viewBox="0 0 24 24" aria-hidden="true">
      <path d={ICONS[name]} />
    </svg>
  )
}

export type Tone = 'ok' | 'warn' | 'bad' | 'info' | 'plain'

export function Chip(props: {
  tone?: Tone
  dot?: boolean
  title?: string
  children: ComponentChildren
}) {
  const { tone = 'plain', dot = false, title, children } = props
  return (
    <span class={`chip ${tone}`} title={title}>
      {dot && <span class="dot" aria-hidden="true" />}
      {children}
    </span>
  )
}

const KEY_TONES: Readonly<Record<KeyStatus, Tone>> = {
  active: 'ok',
  suspended: 'warn',
  revoked: 'bad',
  expired: 'plain',
}
const ORDER_TONES: Readonly<Record<OrderStatus, Tone>> = {
  open: 'info',
  executing: 'warn',
  broadcasted: 'warn',
  confirmed: 'ok',
  failed: 'bad',
  cancelled: 'plain',
  expired: 'plain',
}

export function KeyStatusChip({ status }: { status: KeyStatus }) {
  return (
    <Chip tone={KEY_TONES[status]} dot>
      {say(`status.${status}`)}
    </Chip>
  )
}

export function OrderStatusChip({ status }: { status: OrderStatus }) {
  return (
    <Chip tone={ORDER_TONES[status]} dot>
      {say(`order.${status}`)}
    </Chip>
  )
}

export function Button(props: {
  children: ComponentChildren
  onClick?: () => void
  kind?: 'primary' | 'plain' | 'danger' | 'danger-solid'
  icon?: IconName
  isBusy?: boolean
  disabled?: boolean
  type?: 'button' | 'submit'
  label?: string
}) {
  const { children, onClick, kind = 'plain', icon, isBusy = false, disabled = false } = props
  return (
    <button
      type={props.type ?? 'button'}
      class={`button ${kind}`}
      disabled={disabled}
      aria-busy={isBusy}
      aria-label={props.label}
      onClick={onClick}
    >
      {isBusy ? <span class="spinner" aria-hidden="true" /> : icon && <Icon name={icon} />}
      {children}
    </button>
  )
}

export function LinkButton(props: {
  href: string
  children: ComponentChildren
  kind?: 'primary' | 'plain'
  icon?: IconName
}) {
  return (
    <a class={`button ${props.kind ?? 'plain'}`} href={props.href}>
      {props.icon && <Icon name={props.icon} />}
      {props.children}
    </a>
  )
}

export function CopyButton({ text, label }: { text: string; label: string }) {
  const [isCopied, setCopied] = useState(false)
  const copy = async () => {
    await navigator.clipboard.writeText(text).then(
      () => {
        setCopied(true)
        toast(say('copied', { what: label }))
        setTimeout(() => setCopied(false), 2_000)
      },
      () => toast(say('copy.failed')),
    )
  }
  return (
    <button
      type="button"
      class="icon-button"
      aria-label={say('copy', { what: label })}
      title={say('copy', { what: label })}
      onClick={() => void copy()}
    >
      <Icon name={isCopied ? 'check' : 'copy'} />
    </button>
  )
}

/** An address or another long name: short to read, whole to copy and to hear. */
export function Mono({ text, short = true }: { text: string; short?: boolean }) {
  return (
    <code class="mono" title={text}>
      {short ? shortAddress(text) : text}
    </code>
  )
}

/** A time as a distance, and exactly when it is pointed at. */
export function Time({ at }: { at: string | number }) {
  const now = useNow(10_000)
  return (
    <time dateTime={new Date(at).toISOString()} title={formatTime(at)}>
      {formatDistance(at, now)}
    </time>
  )
}

/** A native modal dialog: the browser keeps the focus in it and gives it back. */
export function Modal(props: {
  title: string
  onClose?: () => void
  children: ComponentChildren
  wide?: boolean
}) {
  const { title, onClose, children, wide = false } = props
  const dialog = useRef<HTMLDialogElement>(null)
  const id = useId()
  useEffect(() => {
    dialog.current?.showModal()
    return () => dialog.current?.close()
  }, [])
  return (
    <dialog
      ref={dialog}
      class={wide ? 'modal wide' : 'modal'}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault()
        onClose?.()
      }}
      // Some browsers close at a second Escape whatever the page says.
      onClose={() => onClose?.()}
    >
      <div class="modal-head">
        <h2 id={id}>{title}</h2>
        {onClose && (
          <button type="button" class="icon-button" aria-label={say('close')} onClick={onClose}>
            ×
          </button>
        )}
      </div>
      {children}
    </dialog>
  )
}

export function Field(props: {
  label: string
  help?: string | undefined
  error?: string | undefined
  optional?: boolean
  children: (attributes: {
    id: string
    'aria-describedby': string | undefined
    'aria-invalid': boolean
  }) => ComponentChildren
}) {
  const { label, help, error, optional = false, children } = props
  const id = useId()
  const described = [help && `${id}-help`, error && `${id}-error`].filter(Boolean).join(' ')
  return (
    <div class="field">
      <label for={id}>
        {label}
        {optional && <span class="optional">{say('optional')}</span>}
      </label>
      {children({
        id,
        'aria-describedby': described === '' ? undefined : described,
        'aria-invalid': error !== undefined,
      })}
      {error && (
        <p class="fault" id={`${id}-error`}>
          {error}
        </p>
      )}
      {help && (
        <p class="help" id={`${id}-help`}>
          {help}
        </p>
      )}
    </div>
  )
}

/**
 * A list of texts: Enter, comma or leaving the field makes an entry of what was typed. What is typed counts at once: a list
 * narrows a key, and a form that is sent while its field has the focus must not sign a wider one than it shows.
 */
export function ListField(props: {
  label: string
  help?: string
  error?: string | undefined
  items: readonly string[]
  onChange: (items: string[]) => void
  placeholder?: string
  suggestions?: readonly string[]
  children?: ComponentChildren
}) {
  const { items, onChange, label, suggestions = [] } = props
  const [text, setText] = useState('')
  const listId = useId()
  const typed = entriesOf(text)
  const entered = items.filter((item) => !typed.includes(item))
  const add = () => setText('')
  const type = (next: string) => {
    setText(next)
    onChange([...entered, ...entriesOf(next).filter((item) => !entered.includes(item))])
  }
  return (
    <Field label={label} help={props.help} error={props.error} optional>
      {(attributes) => (
        <div class="list-field">
          {entered.map((item) => (
            <span class="tag" key={item}>
              <span class="mono">{item}</span>
              <button
                type="button"
                aria-label={say('remove', { what: item })}
                onClick={() => onChange(items.filter((one) => one !== item))}
              >
                ×
              </button>
            </span>
          ))}
          <input
            {...attributes}
            class="mono"
            value={text}
            placeholder={props.placeholder}
            autocomplete="off"
            spellcheck={false}
            list={suggestions.length > 0 ? listId : undefined}
            onInput={(event) => type(event.currentTarget.value)}
            onBlur={add}
            onKeyDown={(event) => {
              if (event.key !== 'Enter' && event.key !== ',') return
              event.preventDefault()
              add()
            }}
          />
          {suggestions.length > 0 && (
            <datalist id={listId}>
              {suggestions.map((one) => (
                <option value={one} key={one} />
              ))}
            </datalist>
          )}
          {props.children}
        </div>
      )}
    </Field>
  )
}

function entriesOf(text: string): string[] {
  return [...new Set(text.split(/[\s,]+/).filter((entry) => entry !== ''))]
}

/** One choice of a few, as radio buttons that look like a switch. */
export function Segments<Value extends string>(props: {
  label: string
  options: readonly (readonly [value: Value, text: ComponentChildren])[]
  value: Value
  onChange: (value: Value) => void
}) {
  const name = useId()
  return (
    <fieldset class="segments">
      <legend class="hidden">{props.label}</legend>
      {props.options.map(([value, text]) => (
        <label key={value}>
          <input
            type="radio"
            name={name}
            checked={value === props.value}
            onChange={() => props.onChange(value)}
          />
          <span>{text}</span>
        </label>
      ))}
    </fieldset>
  )
}

export function PageHead(props: {
  title: ComponentChildren
  text?: ComponentChildren
  back?: readonly [href: string, text: string]
  children?: ComponentChildren
}) {
  const heading = useRef<HTMLHeadingElement>(null)
  useEffect(() => {
    document.title = `${heading.current?.textContent ?? ''} · Latchkey`
  })
  return (
    <div class="page-head">
      <div>
        {props.back && (
          <a class="back" href={props.back[0]}>
            <span aria-hidden="true">←</span> {props.back[1]}
          </a>
        )}
        <h1 ref={heading} tabIndex={-1}>
          {props.title}
        </h1>
        {props.text && <p class="muted">{props.text}</p>}
      </div>
      <div class="actions">{props.children}</div>
    </div>
  )
}

export function Card(props: {
  title?: ComponentChildren
  aside?: ComponentChildren
  children: ComponentChildren
  class?: string
}) {
  return (
    <section class={`card ${props.class ?? ''}`}>
      {props.title && (
        <div class="card-head">
          <h2>{props.title}</h2>
          {props.aside}
        </div>
      )}
      {props.children}
    </section>
  )
}

export function Empty(props: {
  icon: IconName
  title: string
  text: string
  children?: ComponentChildren
}) {
  return (
    <div class="empty">
      <span class="empty-icon">
        <Icon name={props.icon} size={22} />
      </span>
      <h2>{props.title}</h2>
      <p class="muted">{props.text}</p>
      {props.children}
    </div>
  )
}

/** The place of rows that are on their way, as tall as they will be. */
export function Skeleton({ rows = 4, height = 56 }: { rows?: number; height?: number }) {
  return (
    <div class="skeleton" role="status" aria-label={say('loading')}>
      {Array.from({ length: rows }, (_, at) => (
        <span key={at} style={{ height: `${height}px` }} />
      ))}
    </div>
  )
}

export function Facts({ facts }: { facts: readonly (readonly [string, ComponentChildren])[] }) {
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}

export interface Column<Row> {
  name: TextName
  /** Left of the others on a phone, and without its name there. */
  isMain?: boolean
  /** Left out of the cards of a phone. */
  isWide?: boolean
  cell: (row: Row) => ComponentChildren
}

/** A table, which is a list of cards below 640 px. Its roles are written out: the cards' `display` would remove them. */
export function Table<Row>(props: {
  label: string
  columns: readonly Column<Row>[]
  rows: readonly Row[]
  keyOf: (row: Row) => string
}) {
  return (
    <table class="table" role="table" aria-label={props.label}>
      <thead role="rowgroup">
        <tr role="row">
          {props.columns.map(({ name }) => (
            <th role="columnheader" scope="col" key={name}>
              {say(name)}
            </th>
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {props.rows.map((row) => (
          <tr role="row" key={props.keyOf(row)}>
            {props.columns.map(({ name, isMain, isWide, cell }) => (
              <td
                role="cell"
                key={name}
                class={isMain ? 'main' : isWide ? 'wide-only' : undefined}
                data-name={isMain ? undefined : say(name)}
              >
                {cell(row)}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  )
}

/** Saves a text as a file of the visitor's. */
export function saveFile(name: string, text: string, type = 'application/json'): void {
  const url = URL.createObjectURL(new Blob([text], { type }))
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(url), 1_000)
}

import { reader } from './clients.ts'
import { connection, service } from './connection.ts'
import { say } from './language.ts'
import { useAct } from './load.ts'
import { Button, Card, CopyButton, Facts, Mono, PageHead } from './parts.tsx'
import { Problem } from './problem.tsx'
import { useStore } from './store.ts'
import { toast } from './toasts.tsx'

/** The wallet itself: its address and, on a devnet, something to try with. */
export function FundsView() {
  const current = useStore(connection)
  const info = useStore(service)
  const address = current?.address ?? ''
  const { isBusy, error, run, dismiss } = useAct(async () => {
    await reader().devnet.faucet(address)
    toast(say('funds.arrived'))
  })
  return (
    <>
      <PageHead title={say('funds')} text={say('funds.text')} />
      <div class="grid">
        <Card title={say('address')}>
          <p class="menu-address">
            <Mono text={address} short={false} />
            <CopyButton text={address} label={say('address')} />
          </p>
        </Card>
        {info?.devnet && (
          <Card title={say('funds.faucet')}>
            <p class="muted">{say('funds.faucet.text')}</p>
            <Facts
              facts={[
                [say('funds.input'), <Mono text={info.devnet.inputToken} short={false} key="in" />],
                [
                  say('funds.output'),
                  <Mono text={info.devnet.outputToken} short={false} key="out" />,
                ],
              ]}
            />
            {error !== undefined && <Problem error={error} onDismiss={dismiss} />}
            <Button kind="primary" isBusy={isBusy} onClick={run}>
              {say('funds.get')}
            </Button>
          </Card>
        )}
      </div>
    </>
  )
}

import { DurableObject } from 'cloudflare:workers'
import type { GateRequest } from '../gate/decide.ts'
import type { GateObjectCalls } from './gate-object.ts'
import type { Bindings } from './serve.ts'

/** The class of the binding GATE, for the entry to export: RPC reaches only methods of a class. */
export function gateObjectClass(worker: { gateObject(bindings: Bindings): GateObjectCalls }) {
  return class GateObject extends DurableObject<Bindings> implements GateObjectCalls {
    readonly calls = worker.gateObject(this.env)

    probe(protocol: string) {
      return this.calls.probe(protocol)
    }

    decide(protocol: string, request: GateRequest) {
      return this.calls.decide(protocol, request)
    }
  }
}

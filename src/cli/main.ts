#!/usr/bin/env node
import { openProcessTerminal } from './process-terminal.ts'
import { createProgram } from './program.ts'
import { runProgram } from './run.ts'

const terminal = openProcessTerminal()
// Not process.exit: a pipe may still hold what was written.
process.exitCode = await runProgram(createProgram(terminal.out.columns), terminal)

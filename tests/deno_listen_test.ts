import { denoPorts } from "../adapters/deno_ports.ts";
import { listenerContract } from "./_listener_contract.ts";

listenerContract("listenDeno()", denoPorts);

/**
 * Finds out who is behind a connection, by asking the application.
 *
 * @module
 */
import { encodeJson } from "../protocol/codec.ts";
import { HeadwaterError, LimitError } from "../protocol/errors.ts";
import { CLOSE, type CloseCode } from "../protocol/frames.ts";
import { cleanValue, freezeDeep, type Json } from "../protocol/value.ts";
import type { CallScopes } from "./call_scope.ts";
import { Errand } from "./errand.ts";
import type { Failures } from "./failures.ts";
import type { Clock } from "./ports.ts";

/** The request by which a client has connected. */
export interface ConnectionRequest {
  /** The URL that was asked for, with its query. */
  readonly url: string;
  /** Its headers, but for `cookie`: any page can have a browser send that. */
  readonly headers: Headers;
  /** Address of the peer, if known. */
  readonly address?: string | undefined;
}

/** What is kept of a request until its client says hello. */
export function toConnectionRequest(
  { url, headers: sent }: Request,
  address: string | undefined,
): ConnectionRequest {
  // Copied now: a request that was answered cannot be read any more.
  const headers = new Headers(sent);
  headers.delete("cookie");
  return { url, headers, address };
}

/** What a client says of itself. */
export interface Credentials {
  /** The client's `token`. */
  readonly token?: string | undefined;
  /** The client, if it was connected before; proven, but not that it belongs to the same user. */
  readonly clientId?: string | undefined;
}

/**
 * What `authenticate` may give: a user, as JSON, or what refuses the client. `true` is
 * neither, and no promise of it, either.
 */
export type Authenticated =
  | string
  | number
  | (object & { readonly then?: undefined })
  | null
  | undefined
  | false;

/**
 * Tells who is behind a client: the user, as any JSON value of at most 16 KiB that is true
 * in a condition. `null`, `undefined`, `false`, `0` and `""` refuse it, as does what it
 * throws. `true` says of nobody who it is: it refuses, too, and is an `error` of the server.
 */
export type Authenticate = (
  request: ConnectionRequest,
  hello: Credentials,
) => Authenticated | Promise<Authenticated>;

/** Who is behind a connection, or why it ends. */
export type Verdict =
  | { readonly user: Json }
  | { readonly code: CloseCode; readonly reason: string };

/** What authentication is made of. */
export interface AuthenticationOptions {
  readonly authenticate: Authenticate;
  readonly clock: Clock;
  readonly failures: Failures;
  /** It runs outside of the call, if any, that made it necessary. */
  readonly scopes: CallScopes;
}

/** Bytes of a user, encoded: each connection keeps it, and every welcome has it. */
const USER_BYTES = 16 * 1024;

/** See the module's documentation. */
export class Authentication {
  readonly #options: AuthenticationOptions;

  /** Asks that function. */
  constructor(options: AuthenticationOptions) {
    this.#options = options;
  }

  /** Asks who is behind a connection; never rejects. */
  async ask(
    request: ConnectionRequest,
    credentials: Credentials,
    limitMs: number,
  ): Promise<Verdict> {
    const { clock, scopes, authenticate } = this.#options;
    const late = Promise.withResolvers<Verdict>();
    const timer = clock.setTimer(limitMs, () =>
      late.resolve({
        code: CLOSE.helloTimeout,
        reason: `Authentication took over ${limitMs} ms`,
      }));
    try {
      // In a function of its own, so that what it throws at once rejects.
      const errand = new Errand("authenticate", credentials.clientId);
      const asked = scopes.runErrand(
        errand,
        async () => toVerdict(await authenticate(request, credentials)),
      );
      return await Promise.race([asked, late.promise]);
    } catch (error) {
      return this.#refuse(error, credentials);
    } finally {
      timer.cancel();
    }
  }

  #refuse(error: unknown, { clientId }: Credentials): Verdict {
    if (error instanceof HeadwaterError) {
      const { code, message: reason } = error;
      // Whoever knows it cannot be asked at the moment: it may be tried again.
      const isPassing = code === "unavailable";
      return { code: isPassing ? CLOSE.unavailable : CLOSE.refused, reason };
    }
    const what = "Authentication";
    const about = { code: "forbidden", what, clientId } as const;
    const { id } = this.#options.failures.tell(error, about);
    return { code: CLOSE.refused, reason: `${what} failed, id ${id}` };
  }
}

function toVerdict(given: unknown): Verdict {
  // The result of a check, or an empty name: whoever failed it must not come in.
  if (!given) {
    return { code: CLOSE.refused, reason: "Authentication found no user" };
  }
  if (given === true) {
    throw new TypeError(
      "Cannot use what authenticate has given: true says of nobody who it is; return the user, such as { id }, or null to refuse",
    );
  }
  try {
    const user = cleanValue(given, { what: "the user" });
    const { byteLength } = encodeJson(user);
    if (byteLength <= USER_BYTES) return { user: freezeDeep(user) };
    throw new LimitError("use the user", "userBytes", USER_BYTES, byteLength);
  } catch (cause) {
    // An error of the application, which is not for clients.
    throw new TypeError("Cannot use what authenticate has given", { cause });
  }
}

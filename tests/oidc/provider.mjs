// An OpenID provider on a free loopback port: `node provider.mjs <folder with node_modules>`.
//
// It prints one line of JSON once it listens. Each line it then reads is a command, answered with one line:
// {"rotate": "RS256" | "ES256", "alg": true | false} gives it other signing keys and withdraws the present ones;
// with "codes": <seconds> device codes live that long from then on; with "untold" it tells the time of a login only to who
// asks for its age; with "back": <address> a browser, too, may log in for "aegis", and is led back there.

import { createHash, generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [folder] = process.argv.slice(2);
// Standard output is for answers alone; what the library says goes beside.
const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
console.log = console.info = console.error;
const { default: Provider } = await import(pathToFileURL(`${folder}/node_modules/oidc-provider/lib/index.js`));

const GROUPS = { alice: ['security', 'crypto'], bob: ['crypto'], carol: ['staff'], dora: ['security'] };

function signingKey(algorithm, names) {
  const { privateKey } = algorithm === 'ES256'
    ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
    : generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = privateKey.export({ format: 'jwk' });
  const kid = createHash('sha256').update(jwk.x ?? jwk.n).digest('base64url').slice(0, 16);
  return { ...jwk, kid, use: 'sig', ...(names ? { alg: algorithm } : {}) };
}

function provider(issuer, algorithm, names, codes = 120, untold = false, back = undefined) {
  const client = (client_id) => ({
    client_id,
    token_endpoint_auth_method: 'none',
    grant_types: ['urn:ietf:params:oauth:grant-type:device_code', ...(back ? ['authorization_code'] : [])],
    response_types: back ? ['code'] : [],
    redirect_uris: back ? [back] : [],
    id_token_signed_response_alg: algorithm,
  });
  const made = new Provider(issuer, {
    clients: [client('aegis'), client('another')],
    jwks: { keys: [signingKey(algorithm, names)] },
    cookies: { keys: ['only for tests'] },
    features: { deviceFlow: { enabled: true }, devInteractions: { enabled: true } },
    claims: { openid: untold ? ['sub'] : ['sub', 'auth_time'], groups: ['groups'], email: ['email', 'email_verified'] },
    scopes: ['openid', 'groups', 'email'],
    // The ID token itself tells the groups: Aegis asks for no user information.
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    clientBasedCORS: (_, origin, { redirectUris }) => redirectUris.some((uri) => new URL(uri).origin === origin),
    ttl: { IdToken: 120, DeviceCode: codes, AccessToken: 120, AuthorizationCode: 60, Grant: 600, Session: 600, Interaction: 120 },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, groups: GROUPS[id] ?? [], email: `${id}@org.example`, email_verified: id !== 'carol' }),
    }),
  });
  return made.callback();
}

let answer;
const server = createServer((request, response) => answer(request, response));
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  // No name of the algorithm in the keys, as many providers have it.
  answer = provider(issuer, 'RS256', false);
  say({ issuer });
  createInterface({ input: process.stdin })
    .on('line', (line) => {
      const command = JSON.parse(line);
      answer = provider(issuer, command.rotate, command.alg, command.codes, command.untold, command.back);
      say({ rotated: command.rotate });
    })
    .on('close', () => process.exit(0));
});

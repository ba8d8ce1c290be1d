// oauth4webapi and openid-client, unchanged, against a server at HOST PORT [KEY].

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

// NODE_PATH is for require alone.
const require = createRequire(`${process.env.NODE_PATH}/x.js`)
const load = (name) => import(pathToFileURL(require.resolve(name)).href)
const oauth = await load('oauth4webapi')
const oidc = await load('openid-client')

const [host, port, key] = process.argv.slice(2)
const issuer = `http://${host}:${port}`
const as = {
  issuer,
  introspection_endpoint: `${issuer}/oauth2/introspect`,
  revocation_endpoint: `${issuer}/oauth2/revoke`,
}
const secret = key ?? 'none'

async function issue(payload) {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${secret}` }
  const body = JSON.stringify({ payload, uses: 2 })
  const answer = await fetch(`${issuer}/v1/tokens`, { method: 'POST', headers, body })
  return (await answer.json()).token
}

async function withOauth4webapi(authentication) {
  const client = { client_id: 'gateway:1' }
  const options = { [oauth.allowInsecureRequests]: true }
  const look = async (token) => {
    const answer = await oauth.introspectionRequest(as, client, authentication, token, options)
    return oauth.processIntrospectionResponse(as, client, answer)
  }
  const token = await issue({ sub: 'u', active: false, exp: 1 })
  const living = await look(token)
  assert.equal(living.active, true)
  assert.equal(living.sub, 'u')
  assert.ok(living.exp > Date.now() / 1000)
  const revoked = await oauth.revocationRequest(as, client, authentication, token, options)
  await oauth.processRevocationResponse(revoked)
  assert.deepEqual(await look(token), { active: false })
  if (key) {
    const wrong = oauth.ClientSecretBasic('wrong')
    const refused = await oauth.introspectionRequest(as, client, wrong, token, options)
    await assert.rejects(oauth.processIntrospectionResponse(as, client, refused), (error) => {
      const challenges = error.cause.map(({ scheme }) => scheme).sort()
      assert.deepEqual(challenges, ['basic', 'bearer'])
      return error instanceof oauth.WWWAuthenticateChallengeError
    })
  }
}

async function withOpenidClient(authentication) {
  const config = new oidc.Configuration(as, 'gateway', secret, authentication)
  oidc.allowInsecureRequests(config)
  const token = await issue({ sub: 'u' })
  const living = await oidc.tokenIntrospection(config, token, { token_type_hint: 'access_token' })
  assert.equal(living.active, true)
  assert.equal(living.sub, 'u')
  await oidc.tokenRevocation(config, token)
  assert.deepEqual(await oidc.tokenIntrospection(config, token), { active: false })
}

await withOauth4webapi(oauth.ClientSecretBasic(secret))
await withOauth4webapi(oauth.ClientSecretPost(secret))
await withOpenidClient(oidc.ClientSecretBasic(secret))
await withOpenidClient(undefined)
console.log('ok')

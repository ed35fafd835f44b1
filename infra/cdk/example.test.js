// The example of docs/deploy.md in an application, as CDK makes a template of it; cfn-lint then judges that. And the sample trigger.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";

const root = resolve(import.meta.dirname, "../..");

/** An application around the example, word for word; it needs nothing of TypeScript. */
function application(example) {
  const imports = example.match(/^import .*$/gm).join("\n");
  const body = example.replace(/^import .*$/gm, "");
  return `${imports}
import { App, Stack, CfnOutput } from 'aws-cdk-lib';
import * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import * as sns from 'aws-cdk-lib/aws-sns';
import * as apigw from 'aws-cdk-lib/aws-apigatewayv2';
class Application extends Stack {
  constructor(scope, id) {
    super(scope, id);
    const key = (name) => ({ partitionKey: { name, type: dynamodb.AttributeType.STRING } });
    const sessions = new dynamodb.Table(this, 'Sessions', key('sessionId'));
    const connections = new dynamodb.Table(this, 'Connections', key('connectionId'));
    const webSocketApi = new apigw.WebSocketApi(this, 'Api');
    const alarms = new sns.Topic(this, 'Alarms');
    ${body}
    new CfnOutput(this, 'Queue', { value: queueUrl });
  }
}
const app = new App({ outdir: 'out' });
new Application(app, 'Application');
app.synth();
`;
}

test("the example of docs/deploy.md can be deployed", () => {
  const example = readFileSync(join(root, "docs/deploy.md"), "utf8").match(/```ts\n([^]*?)```/)[1];
  const folder = mkdtempSync(join(tmpdir(), "cdk-example-"));
  mkdirSync(join(folder, "vendor"));
  symlinkSync(root, join(folder, "vendor/kvs-stream-writer"));
  symlinkSync(join(import.meta.dirname, "node_modules"), join(folder, "node_modules"));
  writeFileSync(join(folder, "app.mjs"), application(example));
  const synthesized = spawnSync("node", ["app.mjs"], { cwd: folder, encoding: "utf8" });
  assert.equal(synthesized.status, 0, synthesized.stderr);

  const path = join(folder, "out/Application.template.json");
  const lint = spawnSync(join(root, ".venv-lint/bin/cfn-lint"), ["--ignore-checks", "W", "--", path], { encoding: "utf8" });
  assert.equal(lint.status, 0, `CloudFormation would refuse it: ${lint.stdout}${lint.stderr}`);

  const nested = JSON.parse(readFileSync(path, "utf8")).Resources.Audio;
  const given = Object.keys(nested.Properties.Parameters);
  const known = readFileSync(join(root, "infra/template.yaml"), "utf8").match(/^Parameters:\n([^]*?)\n\n?Rules:/m)[1];
  for (const name of given) assert.match(known, new RegExp(`^  ${name}:$`, "m"), `the template has no parameter ${name}`);
  rmSync(folder, { recursive: true });
});

test("the sample trigger gives a speaker's tokens the claims that session-authorizer asks for", async () => {
  const { handler } = await import("../samples/cognito-claims.mjs");
  const ask = (sessionId, groups) =>
    handler({
      version: "2",
      request: { userAttributes: sessionId ? { "custom:sessionId": sessionId } : {}, groupConfiguration: { groupsToOverride: groups } },
      response: { claimsAndScopeOverrideDetails: null },
    });
  const claims = (event) => event.response.claimsAndScopeOverrideDetails?.idTokenGeneration.claimsToAddOrOverride;
  assert.deepEqual(claims(await ask("quiet-fox", ["speakers"])), { sessionId: "quiet-fox", role: "speaker" });
  assert.deepEqual(claims(await ask("quiet-fox", [])), { sessionId: "quiet-fox", role: "listener" });
  assert.equal(claims(await ask(undefined, ["speakers"])), undefined, "without a session nobody speaks");
});

// The example of docs/deploy.md in an application, as CDK makes a template of it; cfn-lint then judges that. And the sample trigger.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync, mkdirSync } from "node:fs";
import { createServer } from "node:net";
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

/** The example's application, as CDK makes a template of it. */
function synthesized(folder) {
  const example = readFileSync(join(root, "docs/deploy.md"), "utf8").match(/```ts\n([^]*?)```/)[1];
  mkdirSync(join(folder, "vendor"));
  symlinkSync(root, join(folder, "vendor/kvs-stream-writer"));
  symlinkSync(join(import.meta.dirname, "node_modules"), join(folder, "node_modules"));
  writeFileSync(join(folder, "app.mjs"), application(example));
  const { status, stderr } = spawnSync("node", ["app.mjs"], { cwd: folder, encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return join(folder, "out/Application.template.json");
}

/** A folder that is gone after the test. */
function scratch(t) {
  const folder = mkdtempSync(join(tmpdir(), "cdk-example-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

test("CloudFormation takes the example of docs/deploy.md", (t) => {
  const path = synthesized(scratch(t));
  const lint = spawnSync(join(root, ".venv-lint/bin/cfn-lint"), ["--ignore-checks", "W", "--", path], { encoding: "utf8" });
  assert.equal(lint.status, 0, `CloudFormation would refuse it: ${lint.stdout}${lint.stderr}`);

  const nested = JSON.parse(readFileSync(path, "utf8")).Resources.Audio;
  const given = Object.keys(nested.Properties.Parameters);
  const known = readFileSync(join(root, "infra/template.yaml"), "utf8").match(/^Parameters:\n([^]*?)\n\n?Rules:/m)[1];
  for (const name of given) assert.match(known, new RegExp(`^  ${name}:$`, "m"), `the template has no parameter ${name}`);
});

/** MiniStack, which has nested stacks; ended after the test. */
async function account(t, folder) {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  listener.close();
  const env = { ...process.env, GATEWAY_PORT: port, HOME: folder, TMPDIR: folder, LOG_LEVEL: "WARNING" };
  const python = join(root, ".venv-ministack/bin/python");
  const ministack = spawn(python, [join(root, "scripts/run_ministack.py")], { env, stdio: ["ignore", "ignore", "inherit"] });
  t.after(async () => {
    ministack.kill();
    await once(ministack, "exit");
  });
  const url = `http://127.0.0.1:${port}`;
  await until("MiniStack answers", () => fetch(`${url}/_ministack/health`).then((answer) => answer.ok, () => false));
  return url;
}

async function until(what, isSo) {
  for (let waited = 0; waited < 60_000; waited += 500) {
    const found = await isSo();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  assert.fail(`not within a minute: ${what}`);
}

/** A call of CloudFormation; its answer, which is XML. */
async function cloudFormation(url, Action, parameters) {
  const Authorization = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/cloudformation/aws4_request, SignedHeaders=host, Signature=0";
  const body = new URLSearchParams({ Action, Version: "2010-05-15", ...parameters });
  const answer = await fetch(url, { method: "POST", headers: { Authorization }, body });
  const text = await answer.text();
  assert.ok(answer.ok, `${Action}: ${text}`);
  return text;
}

test("the example becomes a stack within the application's, and leaves with it", async (t) => {
  const folder = scratch(t);
  const template = JSON.parse(readFileSync(synthesized(folder), "utf8"));
  const url = await account(t, folder);
  const nested = template.Resources.Audio.Properties;
  // CDK would have uploaded both, and looks for the bucket that it does that with.
  const put = async (path, body) => assert.ok((await fetch(`${url}/${path}`, { method: "PUT", body })).ok, path);
  await put("assets");
  await put("assets/template.yaml", readFileSync(join(root, "infra/template.yaml")));
  nested.TemplateURL = `${url}/assets/template.yaml`;
  const { CodeBucket, CodePrefix } = nested.Parameters;
  await put(CodeBucket);
  const empty = Buffer.from("UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==", "base64"); // a zip of nothing
  for (const name of ["kvs-stream-writer", "connection-handler", "session-authorizer", "sweep"]) {
    await put(`${CodeBucket}/${CodePrefix}/${name}.zip`, empty);
  }
  delete template.Parameters;
  delete template.Rules;

  const StackName = "application";
  await cloudFormation(url, "CreateStack", { StackName, TemplateBody: JSON.stringify(template) });
  const described = await until("the stack is made", async () => {
    const told = await cloudFormation(url, "DescribeStacks", { StackName });
    return !told.includes("CREATE_IN_PROGRESS") && told;
  });
  assert.match(described, /<StackStatus>CREATE_COMPLETE</, described);
  assert.match(described, /<OutputValue>[^<]*-chunks\.fifo</, "the nested stack's queue is an output of the application");
  await cloudFormation(url, "DeleteStack", { StackName });
  await until("the stack and its nested one are gone", async () => {
    const left = await cloudFormation(url, "ListStacks", {});
    return [...left.matchAll(/<StackStatus>([^<]*)</g)].every(([, status]) => status === "DELETE_COMPLETE");
  });
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

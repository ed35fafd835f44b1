"""Lambda for LocalStack in host mode: functions of the runtime provided.al2023 as child processes.

LocalStack's own executor starts containers. This one starts `bootstrap` behind a Runtime API of its own, on the loopback interface. It is
found by its entry point (the .dist-info folder beside this file) when this folder is on PYTHONPATH, and chosen by
LAMBDA_RUNTIME_EXECUTOR=process. Everything else (deployment, event source mapping, concurrency, time-outs) stays LocalStack's.
"""

import os
import queue
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from localstack import config
from localstack.services.lambda_.invocation.lambda_models import InvocationResult
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor

START_SECONDS = 20


class RuntimeApi(ThreadingHTTPServer):
    """The Lambda Runtime API of one process: one invocation at a time."""

    daemon_threads = True

    def __init__(self, function_arn: str, timeout_seconds: int):
        super().__init__(("127.0.0.1", 0), Handler)
        self.function_arn = function_arn
        self.timeout_seconds = timeout_seconds
        self.waiting: queue.Queue = queue.Queue()
        self.answers: queue.Queue = queue.Queue()
        self.asked_for_work = threading.Event()
        self.over = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RuntimeApi

    def do_GET(self):
        if not self.path.endswith("/runtime/invocation/next"):
            self.server.over.wait()  # an extension's next event: there is none
            return self.answer(200, b"{}")
        self.server.asked_for_work.set()
        payload = None
        while payload is None:
            try:
                payload = self.server.waiting.get(timeout=0.5)
            except queue.Empty:
                if self.server.over.is_set():
                    return self.answer(410)
        deadline = int((time.time() + self.server.timeout_seconds) * 1000)
        self.answer(
            200,
            payload["payload"].encode(),
            {
                "Lambda-Runtime-Aws-Request-Id": payload["invoke-id"],
                "Lambda-Runtime-Deadline-Ms": str(deadline),
                "Lambda-Runtime-Invoked-Function-Arn": self.server.function_arn,
                "Lambda-Runtime-Trace-Id": payload.get("trace-id", ""),
            },
        )

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.headers.get("Content-Length"):
            body = self.read_chunks()
        if self.path.endswith("/extension/register"):
            names = b'{"functionName":"local","functionVersion":"$LATEST","handler":"bootstrap"}'
            return self.answer(200, names, {"Lambda-Extension-Identifier": "1"})
        if "/runtime/invocation/" in self.path:
            self.server.answers.put((self.path.endswith("/error"), body))
        self.answer(202, b'{"status":"OK"}')

    def read_chunks(self) -> bytes:
        body = b""
        while self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            size = int(self.rfile.readline().strip() or b"0", 16)
            body += self.rfile.read(size)
            self.rfile.readline()
            if size == 0:
                break
        return body

    def answer(self, status: int, body: bytes = b"", headers: dict | None = None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class ProcessExecutor(RuntimeExecutor):
    """One execution environment: a Runtime API and a child process."""

    api: RuntimeApi | None = None
    process: subprocess.Popen | None = None

    def start(self, env_vars: dict[str, str]) -> None:
        code = self.function_version.config.code.get_unzipped_code_location()
        bootstrap = code / "bootstrap"
        bootstrap.chmod(0o755)
        self.api = RuntimeApi(self.function_version.qualified_arn, self.function_version.config.timeout)
        threading.Thread(target=self.api.serve_forever, daemon=True).start()
        environment = {name: os.environ[name] for name in os.environ if name.startswith("AWS_ENDPOINT_URL_")}
        environment |= {name: str(value) for name, value in env_vars.items() if value is not None}
        environment |= {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.api.server_port}",
            "LAMBDA_TASK_ROOT": str(code),
        }
        folder = os.environ.get("KVS_FUNCTION_LOGS", str(code.parent))
        name = self.function_version.id.function_name
        with open(os.path.join(folder, f"{name}.log"), "ab") as log:
            self.process = subprocess.Popen(
                [str(bootstrap)], cwd=code, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until = time.monotonic() + START_SECONDS
        while not self.api.asked_for_work.wait(0.05):
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{name} did not ask for work; exit code {self.process.poll()}")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        if self.api is not None:
            self.api.over.set()
            self.api.shutdown()
            self.api.server_close()

    def invoke(self, payload: dict[str, str]) -> InvocationResult:
        self.api.waiting.put(payload)
        until = time.monotonic() + self.function_version.config.timeout + 5
        while time.monotonic() < until:
            try:
                is_error, body = self.api.answers.get(timeout=0.05)
                return InvocationResult(payload["invoke-id"], body, is_error=is_error, logs="")
            except queue.Empty:
                if self.process.poll() is not None:
                    break
        failed = b'{"errorType":"Runtime.ExitError","errorMessage":"the process ended or took too long"}'
        return InvocationResult(payload["invoke-id"], failed, is_error=True, logs="")

    def get_address(self) -> str:
        return "127.0.0.1"

    def get_endpoint_from_executor(self) -> str:
        return "127.0.0.1"

    def get_runtime_endpoint(self) -> str:
        return f"http://127.0.0.1:{config.GATEWAY_LISTEN[0].port}"

    def get_logs(self) -> str:
        return ""

    @classmethod
    def prepare_version(cls, function_version) -> None:
        function_version.config.code.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version) -> None:
        pass


class ProcessExecutorPlugin(RuntimeExecutorPlugin):
    name = "process"

    def load(self, *args, **kwargs):
        return ProcessExecutor

"""HyperQueue as an executor of rekindle: `--executor hyperqueue --address SERVER_DIRECTORY`."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
from hyperqueue import Client, Job
from hyperqueue.ffi.protocol import ResourceRequest

from rekindle.domain.states import Cause
from rekindle.executors.placement import Batch, Phase, Placement, PlacementRefused, PlacementUnreachable, Seen

# HyperQueue's Python package cannot cancel tasks or list running ones, so elements use files in the batch's folder.
# Whoever makes INDEX.taken decides: the element, which then runs, or `cancel`, and then the element never starts.
ELEMENT = """mkdir "$0.taken" || exit 0
setsid "$@" & child=$!
(until [ -e "$0.cancel" ]; do sleep 0.5; done; kill -TERM -$child; sleep 30; kill -KILL -$child) >/dev/null 2>&1 &
watch=$!
wait $child; code=$?; kill $watch; echo $code >"$0.ended"; exit $code"""


class HyperQueuePlacement(Placement):
    name = "hyperqueue"

    def __init__(self, address):
        self.server = Path(address or "~/.hq-server").expanduser()

    def submit(self, batch):
        if batch.options or batch.at_once:
            raise PlacementRefused("this executor takes neither options nor a limit on elements at once")
        job = self._call("submit", msgspec.to_builtins(batch))
        self._record(batch.token).write_text(json.dumps([job, batch.folder, batch.elements]))
        return batch.token

    def poll(self, handles):
        known = self._known(handles)
        failed = self._call("failed", [job for job, _, _ in known.values()]) if known else {}
        return [
            self._seen(handle, index, Path(folder, str(index)), failed[str(job)].get(str(index), ""))
            for handle, (job, folder, elements) in known.items()
            for index in range(elements)
        ]

    def _seen(self, handle, index, base, error):
        code = base.with_suffix(".ended").read_text().strip() if base.with_suffix(".ended").exists() else ""
        if code or error:
            canceled = base.with_suffix(".cancel").exists()
            cause = Cause.CANCELED if canceled else None if code == "0" else Cause.LOST
            evidence = {"exit_code": code, "hyperqueue": error}
            return Seen(handle=handle, element=index, phase=Phase.ENDED, cause=cause, message=error, evidence=evidence)
        if base.with_suffix(".taken").exists():
            return Seen(handle=handle, element=index, phase=Phase.RUNNING)
        return Seen(handle=handle, element=index, phase=Phase.PENDING, waits_for="no worker of HyperQueue has room")

    def cancel(self, elements):
        for handle, (_, folder, _) in self._known(elements).items():
            for base in (Path(folder, str(index)) for index in elements[handle]):
                if not base.with_suffix(".ended").exists():
                    base.with_suffix(".cancel").touch()
                    try:
                        base.with_suffix(".taken").mkdir()
                        base.with_suffix(".ended").write_text("never started")
                    except FileExistsError:
                        pass  # it runs, and finds INDEX.cancel

    def adopt(self, tokens):
        return {token: token for token in self._known(tokens)}

    def close(self):
        pass  # there is no connection between calls

    def _record(self, token):  # a server that starts again has another hq-current: it does not know these batches
        return self.server / "hq-current" / f"rekindle-{token}.json"

    def _known(self, tokens):
        return {one: json.loads(self._record(one).read_text()) for one in tokens if self._record(one).is_file()}

    def _call(self, *request):  # in another process: a call of the package stops all threads, and has no time limit
        command = [sys.executable, __file__, str(self.server)]
        try:
            done = subprocess.run(
                command, input=json.dumps(request).encode(), capture_output=True, timeout=8, check=True
            )
        except subprocess.SubprocessError as error:
            raise PlacementUnreachable(f"HyperQueue does not answer: {error}") from error
        return json.loads(done.stdout)


def answer(client, method, value):
    if method == "failed":
        found = client.connection.get_failed_tasks(value)
        return {job: {index: task.error for index, task in tasks.items()} for job, tasks in found.items()}
    batch = msgspec.convert(value, Batch)
    wanted = {"mem": -(-batch.memory // 1024**2), "gpus/nvidia": batch.gpus}
    room = ResourceRequest(cpus=batch.cpus, resources={name: number for name, number in wanted.items() if number})
    job = Job(batch.folder, name=batch.name, max_fails=None)
    for index in range(batch.elements):
        base = f"{batch.folder}/{index}"
        command = ["/bin/sh", "-c", ELEMENT, base, *batch.command(index)]
        job.program(command, stdout=f"{base}.out", stderr=f"{base}.err", resources=room, crash_limit=1)
    return client.submit(job).id


if __name__ == "__main__":
    print(json.dumps(answer(Client(sys.argv[1]), *json.load(sys.stdin))))

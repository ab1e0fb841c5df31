# SPDX-License-Identifier: BSD-3-Clause
"""Enough of OpenPBS to submit, watch and delete real background jobs, written to its Reference Guide.

Debian and PyPI have no PBS.  The folder ``FAKE_PBS_HOME`` is the server's memory; there is no daemon: each command and
each ending job starts what now fits on the four nodes.  Option letters, output, exit codes (error number modulo 256),
``Exit_status`` and comments are those of OpenPBS 20.  A file ``trouble.<command>`` with lines ``<exit code> <message>``
makes the next calls of that command fail, one line each.
"""

import contextlib
import fcntl
import getpass
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

HOME = Path(os.environ["FAKE_PBS_HOME"])
SERVER, QUEUE = "pbs", "workq"
NODES, CPUS = ("n1", "n2", "n3", "n4"), 4
WALLTIME_TOP_S = 24 * 3600
KILL_DELAY_S = 1.0
UNKNOWN_JOB, UNKNOWN_QUEUE, BAD_RESOURCE, OVER_LIMIT, FINISHED = 15001, 15020, 15035, 15036, 15139


def fail(message, number=1):
    sys.stderr.write(message + "\n")
    sys.exit(number % 256)


def say(text):
    sys.stdout.write(text + "\n")


@contextlib.contextmanager
def locked():
    with (HOME / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def load(number):
    return json.loads((HOME / f"{number}.json").read_text())


def save(job):
    path = HOME / f"{job['number']}.json"
    path.with_suffix(".new").write_text(json.dumps(job))
    path.with_suffix(".new").replace(path)


def everything():
    return [json.loads(path.read_text()) for path in sorted(HOME.glob("*.json"), key=lambda path: int(path.stem))]


def clock(seconds):
    return f"{int(seconds) // 3600:02}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}"


def seconds(text):
    total = 0
    for part in text.split(":"):
        total = total * 60 + int(part)
    return total


# ---- qsub -------------------------------------------------------------------------------------------------------------

TAKES_VALUE, FLAGS = "aACcDeFGJjklMmNopPqRrSuvW", "hIVXzf"


def options_of(words):
    """Return (options, rest); a letter may stand more than once."""
    found = []
    words = list(words)
    while words and words[0].startswith("-") and words[0] != "-":
        word = words.pop(0)
        letter, value = word[1:2], word[2:]
        if letter in TAKES_VALUE and letter:
            found.append((letter, value or (words.pop(0) if words else fail("qsub: option needs a value", 2))))
        elif letter in FLAGS and letter:
            found.append((letter, ""))
        else:
            fail(f"qsub: invalid option -- '{letter}'\nusage: qsub [-a date_time] ...", 2)
    return found, words


def directives_of(script):
    """Return the options in the leading #PBS lines, up to the first command."""
    found = []
    for line in script.splitlines():
        if line.startswith("#PBS "):
            found += options_of(shlex.split(line[5:]))[0]
        elif line.strip() and not line.startswith(("#", ":")):
            break
    return found


def qsub(arguments):
    options, rest = options_of(arguments)
    if not rest:
        fail("qsub: this server reads scripts from files only")
    try:
        script = Path(rest[0]).read_text()
    except OSError:
        fail(f"qsub: script file:: No such file or directory {rest[0]}")
    options = directives_of(script) + options  # the command line outranks the script
    last = dict(options)
    resources = {"walltime": clock(5 * 3600), "select": "1:ncpus=1"}
    for value in [value for letter, value in options if letter == "l"]:
        for part in value.split(","):
            key, _, amount = part.partition("=")
            if key not in {"walltime", "select", "place", "ncpus", "mem"}:
                fail(f"qsub: Unknown resource Resource_List.{key}", BAD_RESOURCE)
            resources[key] = amount
    if last.get("q", QUEUE) != QUEUE:
        fail("qsub: Unknown queue", UNKNOWN_QUEUE)
    if seconds(resources["walltime"]) > WALLTIME_TOP_S:
        fail("qsub: Job violates queue and/or server resource limits", OVER_LIMIT)
    with locked():
        number = max([int(path.stem) for path in HOME.glob("*.json")], default=0) + 1
        (HOME / f"{number}.SC").write_text(script)
        save({
            "number": number, "Job_Name": last.get("N", Path(rest[0]).name[:15]), "Job_Owner": getpass.getuser(),
            "job_state": "H" if "h" in last else "Q", "queue": QUEUE, "Resource_List": resources,
            "Account_Name": last.get("A", ""), "Rerunable": last.get("r", "y") == "y", "substate": 10,
            "output": last.get("o", str(Path.cwd()) + "/"), "join": last.get("j", "n"),
            "workdir": str(Path.cwd()), "ctime": time.ctime(),
        })  # fmt: skip
        schedule()
    say(f"{number}.{SERVER}")


# ---- the scheduler and the execution hosts ------------------------------------------------------------------------------


def schedule():
    """Start what fits, oldest first; the caller holds the lock."""
    jobs = everything()
    free = dict.fromkeys(NODES, CPUS)
    for job in jobs:
        for node, cpus in job.get("placed", []) if job["job_state"] in "RE" else []:
            free[node] -= cpus
    for job in [job for job in jobs if job["job_state"] == "Q"]:
        placed = place(job["Resource_List"], dict(free))
        if placed is None:
            continue
        for node, cpus in placed:
            free[node] -= cpus
        where = "+".join(f"({node}:ncpus={cpus})" for node, cpus in placed)
        job |= {
            "placed": placed, "job_state": "R", "substate": 42, "stime": time.ctime(), "started": time.time(),
            "exec_host": "+".join(f"{node}/0*{cpus}" for node, cpus in placed), "exec_vnode": where,
            "comment": f"Job run at {time.strftime('%a %b %d at %H:%M')} on {where}",
        }  # fmt: skip
        save(job)
        subprocess.Popen(
            [sys.executable, __file__, "mom", str(job["number"])], start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
        )  # fmt: skip


def place(resources, free):
    """Return (node, cpus) for each chunk, or None while they do not fit."""
    placed = []
    for part in resources["select"].split("+"):
        first, *rest = part.split(":")
        count, rest = (int(first), rest) if first.isdigit() else (1, [first, *rest])
        cpus = int(dict(item.split("=") for item in rest).get("ncpus", 1))
        for _ in range(count):
            used = {node for node, _ in placed} if resources.get("place") == "scatter" else set()
            node = next((node for node in NODES if node not in used and free[node] >= cpus), None)
            if node is None:
                return None
            free[node] -= cpus
            placed.append((node, cpus))
    return placed


def mom(number):
    """Run one job from its start to its record; what MoM, its prologue and the server do between them."""
    job, name = load(number), f"{number}.{SERVER}"
    scratch = HOME / f"pbs.{name}"
    scratch.mkdir(mode=0o700)
    nodefile = HOME / f"{number}.nodes"
    nodefile.write_text("".join(f"{node}\n" for node, _ in job["placed"]))
    environment = {
        "HOME": str(Path.home()), "PATH": "/usr/local/bin:/usr/bin:/bin", "LOGNAME": job["Job_Owner"],
        "PBS_JOBID": name, "PBS_JOBNAME": job["Job_Name"], "PBS_NODEFILE": str(nodefile), "PBS_QUEUE": QUEUE,
        "PBS_ENVIRONMENT": "PBS_BATCH", "PBS_O_WORKDIR": job["workdir"], "TMPDIR": str(scratch),
        "NCPUS": str(job["placed"][0][1]), "OMP_NUM_THREADS": str(job["placed"][0][1]),
    }  # fmt: skip
    output = Path(job["output"].rpartition(":")[2])
    output = output / f"{name}.OU" if job["output"].endswith("/") else output
    with output.open("ab") as out:
        process = subprocess.Popen(
            ["/bin/bash", HOME / f"{number}.SC"], cwd=environment["HOME"], env=environment, stdin=subprocess.DEVNULL,
            stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
        limit = seconds(job["Resource_List"]["walltime"])
        status, ending = None, "and finished"
        while process.poll() is None:
            time.sleep(0.02)
            passed = time.time() - job["started"]
            if (HOME / f"{number}.delete").exists():
                end(process)
                ending = "and terminated"
            elif passed > limit:
                out.write(f"=>> PBS: job killed: walltime {passed:.0f} exceeded limit {limit}\n".encode())
                end(process)
                status, ending = -29, "and exceeded resource walltime"
        end(process)
    if status is None:
        status = process.returncode if process.returncode >= 0 else 256 - process.returncode
    ending = "and failed" if status and ending == "and finished" else ending
    shutil.rmtree(scratch, ignore_errors=True)
    with locked():
        job = load(number) | {
            "job_state": "F", "Exit_status": status, "comment": f"{job['comment']} {ending}",
            "substate": {"and finished": 92, "and terminated": 91}.get(ending, 93),
            "resources_used": {"walltime": clock(time.time() - job["started"])},
        }  # fmt: skip
        save(job)
        schedule()


def end(process):
    """SIGTERM, the kill delay, SIGKILL, to the whole session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(KILL_DELAY_S)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


# ---- qselect, qstat, qdel ---------------------------------------------------------------------------------------------


def qselect(arguments):
    words, user, history, states, name = list(arguments), None, False, None, None
    while words:
        word = words.pop(0)
        if word == "-x":
            history = history_kept() or fail("qselect: PBS is not configured to maintain job history", 15140)
        elif word in {"-u", "-s", "-N"}:
            value = words.pop(0)
            user, states, name = (value if word == o else v for o, v in (("-u", user), ("-s", states), ("-N", name)))
        else:
            fail(f"qselect: invalid option -- '{word[1:]}'", 2)
    with locked():
        schedule()
    for job in everything():
        seen = (history or job["job_state"] != "F") and user in {None, job["Job_Owner"]}
        if seen and (states is None or job["job_state"] in states) and name in {None, job["Job_Name"]}:
            say(f"{job['number']}.{SERVER}")


def history_kept():
    return not (HOME / "no_history").exists()


def qstat(arguments):
    words, history, full, as_json, ids = list(arguments), False, False, False, []
    while words:
        word = words.pop(0)
        if word == "-x":
            history = history_kept() or fail("qstat: PBS is not configured to maintain job history", 15140)
        elif word == "-f":
            full = True
        elif word == "-F" and not (HOME / "no_json").exists():
            as_json = words.pop(0) == "json"
        elif word.startswith("-"):
            fail(f"qstat: invalid option -- '{word[1:]}'\nusage: qstat [-f] [-J] [-p] [-t] [-x] ...", 2)
        else:
            ids.append(word)
    if not full:
        fail("qstat: this server knows the full format only")
    code, shown = 0, {}
    for name in ids or [f"{job['number']}.{SERVER}" for job in everything()]:
        if not (HOME / f"{name.partition('.')[0]}.json").exists():
            sys.stderr.write(f"qstat: Unknown Job Id {name}\n")
            code = UNKNOWN_JOB
            continue
        job = load(name.partition(".")[0])
        if job["job_state"] == "F" and not history:
            sys.stderr.write(f"qstat: {name} Job has finished, use -x or -H to obtain historical job information\n")
            code = FINISHED
            continue
        hidden = {"number", "placed", "started", "output", "join", "workdir"}
        shown[name] = {key: value for key, value in job.items() if key not in hidden}
        shown[name] |= {"Rerunable": str(job["Rerunable"]), "Job_Owner": f"{job['Job_Owner']}@{SERVER}"}
    if as_json:
        say(json.dumps({"timestamp": int(time.time()), "pbs_version": "20.0.1", "pbs_server": SERVER} |
                         ({"Jobs": shown} if shown else {}), indent=4))  # fmt: skip
    else:
        for name, facts in shown.items():
            say(full_text(name, facts))
    sys.exit(code % 256)


def full_text(name, facts):
    """Return the ``-f`` format: dotted resources, lines broken at 79 columns and continued after a tab."""
    lines = [f"Job Id: {name}"]
    for key, value in facts.items():
        dotted = {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
        for attribute, text in dotted.items():
            line = f"    {attribute} = {text}"
            lines.append("\n\t".join(re.findall(".{1,78}", line)))
    return "\n".join(lines) + "\n"


def qdel(arguments):
    code = 0
    with locked():
        for name in arguments:
            number = name.partition(".")[0]
            if not (HOME / f"{number}.json").exists():
                sys.stderr.write(f"qdel: Unknown Job Id {name}\n")
                code = UNKNOWN_JOB
                continue
            job = load(number)
            if job["job_state"] == "F":
                sys.stderr.write(f"qdel: Job has finished {name}\n")
                code = FINISHED
            elif job["job_state"] in "QHW":
                save(job | {"job_state": "F", "substate": 91, "comment": "Job deleted"})
            else:
                save(job | {"job_state": "E", "substate": 50})
                (HOME / f"{number}.delete").touch()
    sys.exit(code % 256)


def main(command, *arguments):
    trouble = HOME / f"trouble.{command}"
    if trouble.exists() and (lines := trouble.read_text().splitlines()):
        trouble.write_text("\n".join(lines[1:]))
        code, _, message = lines[0].partition(" ")
        fail(message, int(code))
    if command == "mom":
        mom(int(arguments[0]))
    else:
        {"qsub": qsub, "qselect": qselect, "qstat": qstat, "qdel": qdel}[command](arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])

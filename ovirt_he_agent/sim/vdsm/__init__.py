"""An emulated VDSM: one process that stands for a host's VDSM towards everything above it.

    python -m ovirt_he_agent.sim.vdsm --port 0 --root DIR [--tls DIR]

prints one JSON line ``{"port": N, "sd": "<storage domain UUID>"}`` once it
listens, and ends on SIGTERM or SIGINT without leaving a child behind (when it
is killed, its guests are killed by the kernel). Leases are taken in the sanlock
daemon that SANLOCK_RUN_DIR names; one emulator talks to one daemon.

Below the root, as on a host: ``rhev/data-center/mnt/<server:_path>/<domain>``,
``run/vdsm/storage/<domain>/<image>/<volume>``, ``usr/libexec/vdsm/hooks/<point>``.
Beside that ``exports/<server:_path>`` (what can be connected) and
``run/vdsm/guests/<vmId>.json`` ({"pid", "port"} of each running VM; the port also
stands in VM.getStats as ``simGuestPort``).

Verbs of its own, over the same wire; parameters by name:

    Sim.guest(vmID, action)   crash (SIGKILL), hang (SIGSTOP), resume (after hang), reboot,
                              shutdown (by a user inside), pause (an I/O error), bad health, good health.
                              A reboot ends the VM (exit reason 13) when its definition says
                              on_reboot=destroy, or when it is the VM of the root's hosted-engine.conf
                              or vm.conf (the hook of the setup package does that on a host).
    Sim.fail(method, code, message="made up", count=1)
                              the next ``count`` calls (null: all) of the method (``*``: any) fail
    Sim.delay(method, seconds)  each call occupies its worker for so long first; 0 ends it
    Sim.mute(method, count=1, drop=false)
                              the verb runs, its reply is lost; with ``drop`` all connections too
    Sim.recovering(seconds)   every call is answered with error 99, no events
    Sim.heal()                ends all of the above, ``Sim.stats`` and ``Sim.networks``
    Sim.drop()                closes every client connection
    Sim.silent(seconds)       nothing is read, answered or sent, no heart-beat either
    Sim.calls(clear=false)    calls so far: [{method, params, code}]
    Sim.stats(values)         merged over Host.getStats (memFree, cpuLoad, network, ...)
"""

"""Short stories, each the witness of some faults: nothing may be flagged in them, except by a fault.

Host 1 is the first to start the VM in all of them, some 20 s after the hosts have booted; its engine is
good a minute later.
"""

STORIES = {
    # maintenance, and what only keeps a host from doing anything
    "first-seconds": """
        hosts 1
        at 2 must phase 1 init
        until 5
    """,
    "agent-stops": """
        hosts 2
        at 300 agent 1 stop
        at 305 must slot 1 AgentStopped stopped up
        at 305 must run on 1
        until 320
    """,
    "local-with-vm": """
        hosts 2
        at 300 local 1 on
        at 330 must phase 1 running
        at 330 must slot 1 EngineUp up
        at 340 vm process-dead         # it is the engine's to migrate, and nobody's to stop
        at 340 must no stop 300
        until 660
    """,
    "local-then-stop": """
        hosts 1
        at 300 vm hang
        at 420 must phase 1 stopping
        at 430 local 1 on
        at 430 must no stop 200
        until 640
    """,
    "local-without-vm": """
        hosts 2
        at 300 local 2 on
        at 330 must phase 2 local
        at 330 must slot 2 LocalMaintenance maintenance down
        at 340 vm crash
        at 340 must start within 3 on 1
        at 400 local 1 on              # its VM is there: nothing happens
        at 420 vm crash
        at 420 must no start 100
        at 520 local 1 off
        at 520 must start within 60
        until 600
    """,
    "global": """
        hosts 2
        at 300 global on by 2
        at 315 must phase 1 frozen
        at 320 vm process-dead
        at 320 must no stop 200
        at 530 vm crash
        at 530 must no start 100
        at 630 global off by 1
        at 630 must start within 12
        until 660
    """,
    "global-ends": """
        hosts 2
        at 300 global on
        at 341 global off
        until 380
    """,
    "global-known-no-more": """
        hosts 2
        at 300 global on
        at 320 slot 0 garbage
        at 325 vm process-dead
        at 325 must no stop 200
        at 400 must phase 1 frozen
        until 530
    """,
    "global-never-known": """
        hosts 2
        at 300 slot 0 garbage
        at 320 vm crash
        at 320 must no start 100
        at 420 global off
        at 420 must start within 12
        until 440
    """,
    # Slot 0 is read every ten seconds while all is well, hardly in the two before host 2 starts the VM.
    "global-in-the-last-moment": """
        hosts 2
        off 2
        at 100 power 2 on
        at 300 vm crash
        at 456 vm crash                # a second time: others first
        at 456.3 global on
        at 456.3 must no start 60
        until 520
    """,
    # Twice, for the same reason. A VDSM that was restarted has no record of the VM: the start comes first.
    "slot-0-damaged-in-the-last-moment": """
        hosts 1
        at 303 vdsm 1 stop
        at 303.1 vm crash
        at 303.3 slot 0 garbage
        at 303.4 vdsm 1 start 2
        at 303.4 must no start 60
        at 367 global off
        at 367 must start within 12
        at 506 vdsm 1 stop
        at 506.1 vm crash
        at 506.3 slot 0 garbage
        at 506.4 vdsm 1 start 2
        at 506.4 must no start 60
        at 570 global off
        at 570 must start within 12
        at 709 vdsm 1 stop
        at 709.1 vm crash
        at 709.3 slot 0 garbage
        at 709.4 vdsm 1 start 2
        at 709.4 must no start 60
        at 773 global off
        at 773 must start within 12
        until 790
    """,
    "storage-lost": """
        hosts 2
        at 300 storage 2 off
        at 340 must phase 2 cut
        at 350 storage 2 on
        at 390 must phase 2 standby
        at 400 storage 2 off           # for so long that its host id is lost
        at 600 storage 2 on
        at 680 must phase 2 standby
        until 700
    """,
    "read-only": """
        hosts 1
        at 300 storage 1 read-only
        at 340 must phase 1 cut
        at 340 vm crash
        at 340 must no start 60
        at 420 storage 1 on
        at 420 must start within 30
        until 460
    """,
    "vdsm-gone": """
        hosts 2
        at 300 vdsm 1 stop
        at 310 must phase 1 blind
        at 315 vdsm 1 start
        at 330 must phase 1 running
        until 340
    """,
    # how lives end
    "crash": """
        hosts 2
        at 300 vm crash
        at 300 must start within 3 on 1
        at 450 vm crash                # a second time: others first
        at 450 must start within 8 on 2
        until 500
    """,
    "crash-where-it-is-worse": """
        hosts 2
        at 100 load 1 0.95
        at 400 vm crash
        at 400 must start within 3 on 1
        until 420
    """,
    "user-shuts-down": """
        hosts 2
        at 300 vm shutdown             # it ends 5 s later
        at 305 must no start 9
        at 305 must start within 15 on 1
        until 330
    """,
    "host-shuts-down": """
        hosts 2
        at 300 shutdown 1
        at 300 must start within 11 on 2
        until 330
    """,
    "admin-shuts-down": """
        hosts 1
        at 300 request 1 shutdown
        at 300 must no start 18
        at 300 must start within 30
        until 350
    """,
    "start-fails": """
        hosts 2
        at 10 load 2 0.7
        at 300 vdsm 1 fail-launch 3
        at 300 vm crash
        at 300 must start within 8 on 2
        until 340
    """,
    "starts-fail-alone": """
        hosts 1
        at 300 vdsm 1 fail-launch 4
        at 300 vm crash
        at 355 must phase 1 cooldown
        at 355 must slot 1 EngineUnexpectedlyDown
        at 355 must start within 190
        until 560
    """,
    "starts-fail-for-ever": """
        hosts 1
        at 300 vdsm 1 fail-launch 1000
        at 300 vm crash
        until 420
    """,
    "starts-are-refused": """
        hosts 1
        at 300 vdsm 1 refuse-create 1000
        at 300 vm crash
        until 420
    """,
    "host-dies": """
        hosts 3
        at 10 load 2 0.95
        at 300 power 1 off
        at 300 must no start 119
        at 300 must start within 143 on 3
        until 500
    """,
    "host-dies-alone": """
        hosts 2 io-timeout 8
        at 300 power 1 off
        at 300 must start within 124 on 2
        until 440
    """,
    "agent-dies-for-good": """
        hosts 2
        at 300 agent 1 dies
        at 330 slot 1 clean            # only the lease is left to tell
        at 300 must no start 200
        at 500 must run on 1
        until 510
    """,
    "better-host-does-not-act": """
        hosts 2
        at 100 load 2 0.95
        at 300 definition none on 1
        at 310 agent 1 kill            # a new one knows none
        at 400 vm crash
        at 400 must no start 12
        at 400 must start within 17 on 2
        until 450
    """,
    "vm-is-forgotten": """
        hosts 2
        at 290 global on
        at 310 vdsm 1 stop
        at 311 vm crash
        at 315 vdsm 1 start 2          # it keeps no record of the dead
        until 350
    """,
    "host-dies-unclaimed": """
        hosts 2
        at 300 power 1 off
        at 305 slot 1 clean
        at 300 must no start 119
        at 300 must start within 132 on 2
        until 440
    """,
    "best-host-is-blind": """
        hosts 3
        at 10 load 3 0.8               # still better than one that cannot see its memory
        at 300 vm crash
        at 300 must start within 3 on 1
        at 430 vdsm 2 stop
        at 450 vm crash
        at 450 must start within 8 on 3
        until 500
    """,
    "migration": """
        hosts 2
        off 2
        at 100 power 2 on
        at 300 migrate 2
        at 310 must phase 2 standby
        at 325 must run on 2
        at 340 must phase 2 running
        at 340 must phase 1 standby
        at 300 must no start 300
        until 620
    """,
    "reboot-of-the-host": """
        hosts 1
        at 2000 vdsm 1 fail-launch 9
        at 2000 vm crash
        at 2150 power 1 off
        at 2160 power 1 on
        at 2161 vdsm 1 heal
        at 2160 must start within 200
        until 2400
    """,
    "restart-of-the-agent": """
        hosts 1
        at 300 vm crash
        at 400 agent 1 kill
        at 410 vm process-dead
        at 410 must start within 150
        until 600
    """,
    # an engine that is not well
    "slow-boot": """
        hosts 1 boot-time 400
        at 60 must no stop 360
        at 440 must good
        until 450
    """,
    "boots-for-ever": """
        hosts 1
        at 30 vm hang
        at 700 must phase 1 stopping
        at 700 must start within 100
        until 820
    """,
    "short-trouble": """
        hosts 1
        at 1000 vm process-dead
        at 1000 must no stop 60
        at 1030 vm good
        at 1060 vm process-dead
        at 1060 must no stop 60
        until 1125
    """,
    "engine-dead": """
        hosts 2
        at 300 vm process-dead
        at 300 must no stop 60
        at 325 must phase 1 sick
        at 325 must slot 1 EngineUpBadHealth up
        at 360 must start within 60 on 1
        until 430
    """,
    "hung": """
        hosts 1
        at 300 vm hang
        at 400 must no stop 100
        at 510 must start within 60
        until 600
    """,
    "good-again-while-it-is-stopped": """
        hosts 1
        at 300 vm hang
        at 450 vm good
        at 450 must no stop 250
        until 720
    """,
    "own-network": """
        hosts 1
        at 300 gateway off
        at 345 vm process-dead
        at 345 must no stop 200
        until 550
    """,
    "own-network-later": """
        hosts 1
        at 300 vm db-down              # for which it has three minutes
        at 400 gateway off
        at 445 vm process-dead         # for which it has one, but this host cannot tell
        at 445 must no stop 100
        until 550
    """,
    "paused-and-taken": """
        hosts 3 upstream 1
        off 2
        at 100 power 2 on
        at 295 agent 2 dies            # nobody says that it runs the VM
        at 300 vm pause
        at 301 by-hand 2
        at 345 must phase 1 standby
        until 350
    """,
    "network-lost": """
        hosts 2
        at 300 network 1 off
        at 300 must no stop 60
        at 300 must start within 180 on 2
        until 490
    """,
    "unprotected-slot-is-cleaned": """
        hosts 2 upstream 1
        at 300 definition lease-less
        at 310 vm crash
        at 600 slot 2 garbage
        at 700 definition ok
        at 700 slot 2 clean
        until 760
    """,
    "unprotected-beside-ours": """
        hosts 4 upstream 2
        at 300 by-hand 4 lease-less
        at 440 slot 3 garbage
        at 500 vm crash
        until 530
    """,
    "dropped-after-a-lost-race": """
        hosts 3
        off 1 2 3
        at 10 definition lease-less
        at 20 power all on
        at 66 definition ok
        at 105 vm crash
        at 110.9 slot 0 garbage
        until 125
    """,
    "network-lost-before-the-start": """
        hosts 2
        off 2
        at 20 definition none on 2
        at 30 power 2 on
        at 160 network 1 off
        at 200 vm crash
        at 215 must no stop 500
        until 720
    """,
    "network-lost-for-a-moment": """
        hosts 2
        at 300 network 1 off
        at 350 network 1 on
        at 300 must no stop 150
        until 460
    """,
    "switch-gone": """
        hosts 2
        at 300 switch off
        at 300 must no stop 300
        until 610
    """,
    "others-see-the-page": """
        hosts 2
        at 300 gateway 1 off
        at 300 must no stop 300
        until 610
    """,
    # what the leases and the whiteboard say
    "definition-without-lease": """
        hosts 1
        at 300 definition lease-less
        at 330 vm crash
        at 330 must no start 100
        until 440
    """,
    "disk-has-moved": """
        hosts 1
        at 300 definition snapshot
        at 310 definition ok
        at 350 vm crash
        at 350 must no start 100
        until 460
    """,
    "domain-is-being-joined": """
        hosts 1
        at 300 local 1 on
        at 320 vm crash
        at 380 local 1 off
        at 380 must start within 60
        until 450
    """,
    "vm-without-lease": """
        hosts 2
        off 2
        at 100 power 2 on
        at 300 global on
        at 315 vm crash
        at 320 by-hand 2 lease-less
        at 330 global off
        at 325 must no start 600
        at 500 agent 2 dies
        until 930
    """,
    "sanlock-came-back": """
        hosts 2
        at 300 agent 1 dies
        at 400 sanlock 1 kill
        at 402 sanlock 1 start
        at 402 must no start 50
        at 402 must start within 200
        until 620
    """,
    "twin": """
        hosts 2
        off 2
        at 100 power 2 on
        at 300 by-hand 2 lease-less
        at 310 must run on 2
        at 400 must not run on 2
        at 400 must run on 1
        until 410
    """,
    "twin-that-owns-nothing": """
        hosts 2
        off 2
        at 100 power 2 on
        at 300 by-hand 2 lease-less
        at 313 agent 2 dies
        at 400 must run on 1
        until 410
    """,
    "agent-of-an-unleased-vm-stops": """
        hosts 2
        off 2
        at 100 power 2 on
        at 300 global on
        at 315 vm crash
        at 320 by-hand 2 lease-less
        at 330 global off
        at 500 agent 2 stop
        at 500 must no start 200
        until 710
    """,
    "damaged-slots": """
        hosts 3
        off 3
        at 250 slot 3 garbage
        at 255 slot 7 too-new
        at 256 slot 8 non-ascii
        at 400 must phase 2 standby
        at 400 vm crash
        at 400 must start within 3
        until 420
    """,
    # commands and requests
    "slow-vdsm": """
        hosts 1
        at 300 vdsm 1 slow 0.7
        at 300 storage 1 slow 0.7
        at 310 vm crash
        until 400
    """,
    "asked-in-global-maintenance": """
        hosts 1
        at 300 global on
        at 320 request 1 shutdown
        at 320 must no stop 30
        at 360 request 1 poweroff
        at 360 must no stop 30
        at 400 vm crash
        at 420 request 1 start
        at 420 must no start 30
        at 460 request 1 start force
        at 460 must start within 5
        until 480
    """,
    "asked-to-start": """
        hosts 2
        at 300 vm shutdown
        at 306 request 1 start
        at 306 must start within 3 on 1
        at 400 request 1 poweroff
        at 402 must not run
        until 405
    """,
    "mixed": """
        hosts 3 upstream 2
        at 300 vm crash
        at 400 local 1 on
        until 460
    """,
}

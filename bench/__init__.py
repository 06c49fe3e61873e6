"""The benchmark: what batchway costs beside bare pass-throughs and peers, measured in one run (`make bench`).

Two cores: the subject under measurement has the first; the upstream and the load are one process on the last, which
never sleeps (see `upstream`). All subjects run from the beginning; the cases take turns, one at a time, there and back,
and a ratio is that of two turns about a second apart, so that what else the machine does meets all alike.

    __main__   options and the order of things
    cases      what is measured: a row per case
    bodies     the requests
    subjects   the processes under measurement, and the upstream          peers      nginx and LiteLLM's proxy
    processes  starting, pinning, and reading CPU and memory              load       connections and loops of requests
    rounds     one measurement; the interleaved rounds; memory            response   reading HTTP/1.1
    report     the table, the targets, the machine
    yardstick, bare, unchosen, asgi: the applications that run under uvicorn    upstream   the one they all ask
"""

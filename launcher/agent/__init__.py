"""What runs on the machine: the standard library alone, Python 3.8 and later.

`serve` answers framed requests on its standard input: trees up and down, the job's start, its report, its log.
`supervise` is the job's parent, which outlives every disconnect. The package is sent to the machine as it is, into a
folder named after its content, and run there with `python3 -IS`.
"""

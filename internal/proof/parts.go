package main

import "time"

// A part proves one class.
type part struct {
	class  string
	about  string        // what is done and what must hold, for docs/proof.md
	budget time.Duration // divided evenly among the steps
	steps  []step
}

// A step is one go test or another command. It prints the lines of package tally,
// or its output is counted by count.
type step struct {
	dir  string   // of the module, from the root; empty: the root
	pkg  string   // go test of this package …
	run  string   // … and of these tests
	args []string // another command instead; BUDGET in it is the budget

	// count is nil for a step that prints its lines itself.
	count func(output []string) []count
}

// parts are all classes, in the order of the table.
var parts = []part{
	{
		class:  "faults",
		budget: 10 * time.Minute,
		about: `Each HTTP request and each TPM command that a public operation of the broker sends, as
recorded from a run without faults, meets each fault in turn.`,
		steps: []step{
			{pkg: "./broker", run: "^TestHTTPFaults$"},
			{pkg: "./broker", run: "^TestTPMFaults$"},
		},
	},
	{
		class:  "crashes",
		budget: 10 * time.Minute,
		about: `A process is killed at a system call by which it writes to the disk, to the service or to
the TPM, or a moment later, while it registers, signs in, renews, gets tokens, does anything
with a PIN, or answers a call of the session bus. Then another process opens the state: no PRT
is lost, no second device has been registered, and the operation succeeds when it is tried
again.`,
		steps: []step{
			{pkg: "./broker", run: "^TestKilledAtEverySystemCall$"},
			{pkg: "./broker", run: "^TestPowerLoss$"},
			{pkg: "./broker/dbus", run: "^TestServiceKilledAtEverySystemCall$"},
		},
	},
	{
		class:  "concurrency",
		budget: 10 * time.Minute,
		about: `Processes of many goroutines use one state directory while they are suspended and resumed at
random and their clocks jump. Each call ends soon after its deadline at the latest, with a
result, an error of package broker or that of its context.`,
		steps: []step{{pkg: "./broker", run: "^TestCrowd$"}},
	},
	{
		class:  "adversary",
		budget: 10 * time.Minute,
		about: `Attacks by a hostile service, proxy, bus client, local user, thief or page. SECURITY.md lists
them with their tests.`,
		steps: attackSteps(),
	},
	{
		class:  "secrets",
		budget: 10 * time.Minute,
		about: `Known secrets go through every flow. Afterwards everything that leaves the process is searched
for them in 24 encodings: logs, traces, errors, printed values, the disk, the TPM's bus and the
session bus; so is its memory after sign-out and lock.`,
		steps: []step{
			{pkg: "./internal/canary", run: "^TestExportedTypesPrintNoSecrets$"},
			{pkg: "./broker", run: "^(TestCanary|TestSecretsAreForgotten)$"},
			{pkg: "./broker/dbus", run: "^TestBusShowsOnlyWhatWasAskedFor$"},
		},
	},
	{
		class:  "mutation",
		budget: time.Hour,
		about: `One operator at a time is changed, or one check removed, in packages that guard a sign-in,
and tests must notice. A change passes if they do, be it by running out of time, or if
internal/mutants/equivalent.txt says why they cannot.`,
		steps: []step{{args: []string{"go", "run", "./internal/mutants", "-patience", "25"}, count: countMutants}},
	},
	{
		class:  "fuzzing",
		budget: time.Hour,
		about:  `Every fuzz target runs for its share of the time. A target passes if no input fails.`,
		steps:  []step{{args: []string{"go", "run", "./internal/fuzz", "-total", "BUDGET"}}},
	},
	{
		class:  "soak",
		budget: 10 * time.Minute,
		about: `Years of a machine with many accounts pass in virtual time, under a fault in one request of
twenty: users sign in and out, get and renew tokens, lock and unlock with and without a
network, while passwords change, sessions are revoked, and users and the device are disabled.
Each call ends in a result or an error of its type, every account is served once the network
is well again, and the second half of the life takes up no more memory, goroutines,
descriptors and disk than the first.`,
		steps: []step{{pkg: "./broker", run: "^TestSoak$"}},
	},
	{
		class:  "supply-chain",
		budget: 10 * time.Minute,
		about: `Dependencies are what go.sum names, programs build to the same bytes twice, and bills of
materials and licences are valid. Known vulnerabilities are looked up when their database can
be reached; otherwise that line is missing.`,
		steps: []step{{args: []string{"go", "run", "./internal/supply"}}},
	},
	{
		class:  "recordings",
		budget: 10 * time.Minute,
		about: `A run against the emulator is recorded as ` + "`-record`" + ` would record one against a real tenant. The
recording is searched for every secret and name that went over the wire, also in fields that
the recorder does not know. Each recording in testdata is served to the broker, which must do
what it did, and is compared with the emulator's replies.`,
		steps: []step{{pkg: "./examples/quickstart", run: "^(TestRecordingHoldsNoSecret|TestReplay)$"}},
	},
}

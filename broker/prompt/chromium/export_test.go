package chromium

// WithArguments starts the browser with more arguments, such as those that a
// container needs.
func (p *Prompter) WithArguments(args ...string) *Prompter {
	p.arguments = args
	return p
}

// SignInHost is signInHost.
func (p *Prompter) SignInHost(address string) bool { return p.signInHost(address) }

// Arguments are those that every browser is started with.
func Arguments(profile string) []string { return arguments(profile) }

// WithScript runs a script in every page, in place of a person.
func (p *Prompter) WithScript(js string) *Prompter {
	p.script = js
	return p
}

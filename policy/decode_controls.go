package policy

import "strings"

func (o *object) grants() *GrantControls {
	defer o.done()
	g := &GrantControls{
		Operator:        canonical([]string{"AND", "OR"}, o.text("operator")),
		BuiltInControls: o.list("builtInControls", true),
		CustomFactors:   o.list("customAuthenticationFactors", false),
		TermsOfUse:      o.list("termsOfUse", false),
	}
	if k := o.object("authenticationStrength"); k != nil && !k.n.empty() {
		g.AuthenticationStrength = o.d.strength(k.path, k.n)
	}
	return g
}

func (d *decoder) strength(path string, n *node) *Strength {
	o := d.open(path, n)
	defer o.done()
	o.skip("createdDateTime", "modifiedDateTime")
	s := &Strength{
		ID: o.text("id"), DisplayName: o.text("displayName"), Description: o.text("description"),
		PolicyType: o.text("policyType"), RequirementsSatisfied: o.text("requirementsSatisfied"),
		AllowedCombinations: o.list("allowedCombinations", false),
	}
	configs := o.get("combinationConfigurations")
	for i := range configs.list {
		if configs.list[i].kind == nodeObject {
			s.Configurations = append(s.Configurations, d.combination(at(o.at("combinationConfigurations"), i), &configs.list[i]))
		}
	}
	return s
}

func (d *decoder) combination(path string, n *node) CombinationConfig {
	o := d.open(path, n)
	defer o.done()
	o.skip("allowedIssuers")
	return CombinationConfig{
		ODataType: n.annotation("type"), ID: o.text("id"), AppliesTo: o.list("appliesToCombinations", false),
		AllowedAAGUIDs: o.list("allowedAAGUIDs", false), AllowedIssuerSKIs: o.list("allowedIssuerSkis", false),
		AllowedPolicyOIDs: o.list("allowedPolicyOIDs", false),
	}
}

func (o *object) session() *SessionControls {
	defer o.done()
	s := &SessionControls{
		ApplicationEnforcedRestrictions: o.toggle("applicationEnforcedRestrictions"),
		SecureSignInSession:             o.toggle("secureSignInSession"),
	}
	if k := o.control("cloudAppSecurity"); k != nil {
		s.CloudAppSecurity = &CloudAppSecurity{k.enabled(), k.text("cloudAppSecurityType")}
		k.done()
	}
	if k := o.control("persistentBrowser"); k != nil {
		s.PersistentBrowser = &PersistentBrowser{k.enabled(), k.text("mode")}
		k.done()
	}
	if k := o.control("signInFrequency"); k != nil {
		s.SignInFrequency = &SignInFrequency{
			IsEnabled: k.enabled(), Type: k.text("type"), Value: k.number("value"),
			AuthenticationType: k.text("authenticationType"), Interval: k.text("frequencyInterval"),
		}
		k.done()
	}
	if v, set := o.flag("disableResilienceDefaults"); set {
		s.DisableResilienceDefaults = &v
	}
	if k := o.control("continuousAccessEvaluation"); k != nil {
		s.ContinuousAccessEvaluation = &ContinuousAccess{k.text("mode")}
		k.done()
	}
	s.GlobalSecureAccessProfile = o.secureAccess("globalSecureAccessFilteringProfile", "profileId")
	if older := o.secureAccess("networkAccessSecurity", "policyId"); older != nil {
		s.GlobalSecureAccessProfile = older
	}
	return s
}

func (o *object) control(key string) *object {
	if k := o.object(key); k != nil && !k.n.empty() {
		return k
	}
	return nil
}

// enabled reads isEnabled; a control that is configured without it is on.
func (o *object) enabled() bool {
	v, set := o.flag("isEnabled")
	return v || !set
}

func (o *object) toggle(key string) *Switch {
	k := o.control(key)
	if k == nil {
		return nil
	}
	defer k.done()
	return &Switch{k.enabled()}
}

func (o *object) secureAccess(key, id string) *SecureAccess {
	k := o.control(key)
	if k == nil {
		return nil
	}
	defer k.done()
	return &SecureAccess{k.enabled(), k.text(id)}
}

func (l *loader) location(path string, n *node) {
	d := &decoder{}
	o := d.open("", n)
	o.skip("createdDateTime", "modifiedDateTime", "deletedDateTime", "privateLinkResourcePolicyIds", "compliantNetworkType")
	trusted, _ := o.flag("isTrusted")
	unknown, _ := o.flag("includeUnknownCountriesAndRegions")
	loc := NamedLocation{
		ID: o.text("id"), DisplayName: o.text("displayName"), IsTrusted: trusted,
		Countries: o.list("countriesAndRegions", true), IncludeUnknown: unknown, LookupMethod: o.text("countryLookupMethod"),
		ServiceTags: o.list("serviceTags", true),
	}
	loc.Kind = locationKind(n)
	l.ranges(path, o, &loc)
	o.done()
	for _, p := range d.unmodeled {
		l.report(path+"."+p, SeverityWarning, CodeUnmodeled, "", "location %q: is not understood", loc.DisplayName)
	}
	if p := newPlace(&loc); p.bad != "" {
		l.report(path, SeverityError, CodeBadLocation, "", "location %q: %s", loc.DisplayName, p.bad)
	}
	loc.Source.Path = path
	l.bundle.Locations = append(l.bundle.Locations, loc)
}

func locationKind(n *node) LocationKind {
	kinds := []LocationKind{IPLocation, CountryLocation, CompliantNetworkLocation, ServiceTagLocation, PrivateLinkLocation}
	kind := "#" + strings.TrimPrefix(n.annotation("type"), "#")
	for _, k := range kinds {
		if equalASCII(string(k), kind) {
			return k
		}
	}
	switch {
	case kind != "#":
		return LocationKind(kind)
	case n.has("countriesAndRegions"):
		return CountryLocation
	}
	return IPLocation
}

// ranges reads ipRanges: objects of Graph, or plain strings, which some tools
// write.
func (l *loader) ranges(path string, o *object, loc *NamedLocation) {
	list := o.get("ipRanges")
	for i := range list.list {
		where := path + "." + at("ipRanges", i)
		text := ""
		switch r := &list.list[i]; r.kind {
		case nodeString:
			text = r.text
			l.report(where, SeverityNote, CodeWrongType, "", "location %q: a string where Graph has an object", loc.DisplayName)
		case nodeObject:
			text = r.get("cidrAddress").text
			if lo, up := r.get("lowerAddress").text, r.get("upperAddress").text; text == "" {
				text = lo + "-" + up
			}
		default:
			l.report(where, SeverityError, CodeWrongType, "", "location %q: not a range", loc.DisplayName)
			continue
		}
		loc.Ranges = append(loc.Ranges, strings.TrimSpace(text))
		if hostBits(text) {
			l.report(where, SeverityNote, CodeHostBits, "", "location %q: %s has bits behind its mask: cleared", loc.DisplayName, text)
		}
	}
}

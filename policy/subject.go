package policy

// Subject is a principal's row in one Set: the policies whose users, groups,
// roles, guests, workloads or agents include it. Callers keep it as long as the
// principal's facts and the Set are current. It refers to the lists of its
// User.
type Subject struct {
	set  *Set
	user User // for Explain
	row  row
	// shared is the row for applications with shared channels of Teams: there,
	// policies for B2B direct connect users reach B2B collaboration users, and
	// those for collaboration guests the direct connect users who are guests
	// too. nil: the same row.
	shared row
	traits traits
}

// traits are the facts of a principal that matter to grants.
type traits struct {
	kind        IdentityKind
	guest       GuestType
	mfaTrust    bool
	deviceTrust bool
}

func (u *User) traits() traits { return traits{u.Kind, u.Guest, u.MFATrust, u.DeviceTrust} }

// Subject looks a principal up in every list and rule of the Set. It is nil
// when the user holds Symbols of another Set or a kind that does not exist.
func (s *Set) Subject(u *User) *Subject {
	if u == nil || s.refuse(u) != NoReason {
		return nil
	}
	sub := &Subject{set: s, user: *u, row: newRow(s.blocks), traits: u.traits()}
	exc := newRow(s.blocks)
	s.who(u, nil, false, &window{inc: sub.row, exc: exc})
	if u.alsoGuest() != GuestNone {
		sub.shared, exc = newRow(s.blocks), newRow(s.blocks)
		s.who(u, nil, true, &window{inc: sub.shared, exc: exc})
	}
	return sub
}

// alsoGuest is the type whose policies reach a user of another type in shared
// channels, or GuestNone.
//
// Source: Microsoft Entra documentation, "Users and groups in Conditional
// Access policy", note on B2B direct connect.
func (u *User) alsoGuest() GuestType {
	switch {
	case u.Kind != IdentityPerson:
	case u.Guest == GuestB2BCollaboration, u.Guest == GuestB2BMember:
		return GuestB2BDirectConnect
	case u.Guest == GuestB2BDirectConnect && u.GuestAccount:
		return GuestB2BCollaboration
	}
	return GuestNone
}

// refuse says why a user cannot be looked up.
func (s *Set) refuse(u *User) Reason {
	if u.Kind > IdentityAgentUser || u.Guest > GuestServiceProvider {
		return OutOfRange
	}
	if s.ids.foreign(u.GroupSymbols) || s.ids.foreign(u.RoleSymbols) {
		return ForeignSymbol
	}
	return NoReason
}

// who writes the policies that include a principal into w.inc: all inclusions,
// less all exclusions.
func (s *Set) who(u *User, known []uint32, shared bool, w *window) {
	switch {
	case u.Kind == IdentityPerson:
		s.person(u, known, shared, w)
	case u.Kind == IdentityWorkload && u.MultiTenant:
		return
	case u.Kind == IdentityWorkload:
		s.principal(s.workloads, u, w)
	case u.Kind == IdentityAgent:
		s.principal(s.agents, u, w)
	default:
		s.principal(s.agentUsers, u, w)
	}
	for i := range w.inc {
		w.inc[i] = w.inc[i].andNot(&w.exc[i])
	}
}

func (s *Set) person(u *User, known []uint32, shared bool, w *window) {
	w.or(s.people.base)
	s.people.add(s.ids.find(u.ID), w)
	if known != nil {
		s.addKnown(known, w)
	} else {
		for _, id := range u.Groups {
			s.groups.add(s.ids.find(id), w)
		}
		for _, id := range u.Roles {
			s.roles.add(s.ids.find(id), w)
		}
	}
	for _, sym := range u.GroupSymbols {
		s.groups.add(uint32(sym), w)
	}
	for _, sym := range u.RoleSymbols {
		s.roles.add(uint32(sym), w)
	}
	if u.Guest == GuestNone {
		return
	}
	tenant := s.ids.find(u.HomeTenant)
	s.guest(u.Guest, tenant, w)
	if shared {
		s.sharedChannel(u.alsoGuest(), tenant, w)
	}
}

func (s *Set) addKnown(known []uint32, w *window) {
	sel := s.groups
	for _, n := range known {
		if n == 0 {
			sel = s.roles
		}
		sel.add(n, w)
	}
}

func (s *Set) guest(t GuestType, tenant uint32, w *window) {
	w.or(s.guests[t].base)
	s.guests[t].add(tenant, w)
}

// sharedChannel adds the inclusions of the other type, not the exclusions:
// those name people whom this one is not.
func (s *Set) sharedChannel(other GuestType, tenant uint32, w *window) {
	if other == GuestNone {
		return
	}
	g := s.guests[other]
	for i := range w.inc {
		w.inc[i].or(&g.base.inc[w.first+i])
	}
	for _, p := range g.posts[g.local(tenant)] {
		if b := int(p.policy)/blockSize - w.first; !p.exclude && b >= 0 && b < len(w.inc) {
			w.inc[b].set(int(p.policy % blockSize))
		}
	}
}

func (s *Set) principal(sel *selector, u *User, w *window) {
	sel.addRules(u.Attributes, w)
	sel.add(s.ids.find(u.ID), w)
	if u.Kind == IdentityAgent {
		sel.add(s.ids.find(u.Blueprint), w)
	}
}

// Package policy decides who may do what: pure functions from facts to an outcome. It looks nothing up, so that every
// combination of facts can be tested; gathering the facts is package hooks' part.
//
// The rule in force is friendship: the friends of a user may write to it, members may write in their room, a block
// hides what the blocked one sends without telling. Facts that a rule does not look at have no field yet; a new rule
// adds its facts and keeps the outcomes.
package policy

package api

// moderationOperations are the users' side of moderation.
func moderationOperations() []operation {
	return []operation{
		changing(op("report", "Report a user", "With up to 20 messages as evidence, which operators will read; they are copied, so recalling them changes nothing. The reported user is never told who it was. A user who does not exist gives the same answer.", (*API).reportUser)),
		heard(op("account.standing", "Ask how the own account stands", "Whether it is limited or suspended, why, and until when. Suspended users may ask it over HTTP.", (*API).accountStanding)),
		heard(changing(op("account.appeal", "Appeal against a decision", "One text for each time the account was limited or suspended; operators read it. Suspended users may do it over HTTP.", (*API).accountAppeal))),
	}
}

// moderatorOperations are the operators' side: standing, the queue, limits, holds, the audit log.
func moderatorOperations() []operation {
	return []operation{
		scoped(ScopeAccounts, changing(op("account.suspend", "Suspend an account", "Ends all its connections at once and lets nobody in. The user is told why and until when, and may appeal.", (*API).accountSuspend))),
		scoped(ScopeAccounts, changing(op("account.limit", "Limit an account", "It may not begin new conversations. The user is told why and until when, and may appeal.", (*API).accountLimit))),
		scoped(ScopeAccounts, changing(op("account.restore", "Restore an account", "Ends a suspension or a limit; the user is told.", (*API).accountRestore))),

		scoped(ScopeReports, op("report.list", "List the queue", "Reports and appeals, the oldest first.", (*API).reportList)),
		scoped(ScopeReports, op("report.get", "Look at a report", "With what its author wrote and the messages it picked. That somebody looked is in the audit log.", (*API).reportGet)),
		scoped(ScopeReports, changing(op("report.close", "Close a report", "With its outcome, which is recorded and not carried out. The reporter is told that it was looked at. Evidence goes after 30 days.", (*API).reportClose))),

		scoped(ScopeLimits, op("limits.get", "Show the limits", "All of them: rates, daily budgets, and what users may have.", (*API).limitsGet)),
		scoped(ScopeLimits, changing(op("limits.set", "Change limits", "All of the changes, durably and from the next packet on, or none.", (*API).limitsSet))),

		scoped(ScopeHolds, changing(op("hold.set", "Set a legal hold", "Of an account or a room: nothing of it is erased or goes with age.", (*API).holdSet))),
		scoped(ScopeHolds, changing(op("hold.clear", "End a legal hold", "Erasing and retention go on.", (*API).holdClear))),
		scoped(ScopeHolds, op("hold.list", "List legal holds", "With reason and since when.", (*API).holdList)),

		scoped(ScopeAudit, op("audit.list", "Read the audit log", "What operators changed, the newest first.", (*API).auditList)),
		scoped(ScopeAudit, op("audit.verify", "Check the audit log", "That no entry was changed or removed since it was written.", (*API).auditVerify)),
	}
}

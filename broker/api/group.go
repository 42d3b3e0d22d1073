package api

// groupOperations are those on invitations into rooms, on who owns them, and on members who may not write.
func groupOperations() []operation {
	return []operation{
		op("room.invitations", "List one's invitations", "Those that can be accepted now, each room once.", (*API).roomInvitations),
		changing(op("room.accept", "Accept an invitation", "The asking user is a member then. Whether the invitation still holds is looked at again: it is void if whoever invited is not in the room any more, or may not invite.", (*API).roomAccept)),
		changing(op("room.refuse", "Refuse an invitation", "For good: later invitations into the room are not shown. Nobody is told.", (*API).roomRefuse)),
		op("room.invited", "List whom a room waits for", "One's own invitations; moderators see everybody's. Refused ones stand among them until they expire.", (*API).roomInvited),
		changing(op("room.withdraw", "Take invitations back", "One's own; moderators everybody's.", (*API).roomWithdraw)),
		changing(op("room.offer", "Offer a room to a member", "By the owner, for 72 hours. The member takes it with room.take, or does nothing.", (*API).roomOffer)),
		changing(op("room.take", "Take an offered room", "The asking member owns it then, and the owner before is a moderator.", (*API).roomTake)),
		changing(op("room.mute", "Mute a member", "By moderators and the owner, of members with a smaller role: the member reads and does not write until then.", (*API).roomMute)),
	}
}

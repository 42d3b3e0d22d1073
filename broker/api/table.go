package api

import "slices"

// userOperations is the table of what users may ask, over HTTP and MQTT.
func userOperations() []operation {
	return slices.Concat(
		accountOperations(),
		signUpOperations(),
		eraseOperations(),
		exportOperations(),
		contactOperations(),
		discoveryOperations(),
		requestOperations(),
		roomOperations(),
		groupOperations(),
		messageOperations(),
		settingsOperations(),
		pushOperations(),
		fileOperations(),
		pollOperations(),
		openOperations(),
		couponOperations(),
		channelOperations(),
		moderationOperations(),
		appOperations(),
		linkOperations(),
		webhookOperations(),
		broadcastOperations(),
	)
}

// accountOperations are those on users' accounts, devices and tokens.
func accountOperations() []operation {
	return []operation{
		op("account.me", "Who am I", "The asking account, its device, when its credentials end, and the limits in force.", (*API).accountMe),
		op("profile.get", "Read a profile", "One's own, or that of another user. Friends, those who were answered and members of a room together see all of it, others the name. Who does not exist and who does not want to be found are the same answer.", (*API).profileGet),
		changing(op("profile.set", "Change the own profile", "Fields that are absent stay as they are. The other devices get a notice.", (*API).profileSet)),
		op("device.list", "List devices", "The devices of the account: client identifiers whose sessions outlive their connections.", (*API).deviceList),
		changing(op("device.set", "Change a device", "Its label, its platform, whether it gets its own messages back, and what pushes have to know: see push.md.", (*API).deviceSet)),
		changing(op("device.remove", "Sign a device out", "Ends its connection at once and removes the device, the tokens that open only it, where it is woken, and what was kept of its session. The other devices get a notice. A device that removes itself loses its connection instead of getting an answer.", (*API).deviceRemove)),
		changing(op("account.signout_others", "Sign out everywhere else", "Every other device as with device.remove, guests' connections, and every token but that of the request. What comes from no device signs out all of them.", (*API).signoutOthers)),
		op("token.list", "List tokens", "What opens the account, without the secrets.", (*API).tokenList),
		changing(op("token.create", "Make a token for a device", "Makes the device, if there is none with this client identifier, and a token that opens only it. The secret is told once: the answer to a repeated request does not hold it.", (*API).tokenCreate)),
		changing(op("token.rotate", "Replace a token", "The new secret is told once. The old one stays valid for the grace, so that an answer that is lost locks nobody out.", (*API).tokenRotate)),
		changing(op("token.remove", "End a token", "Connections that were opened with it end. For a token that opens every device, all connections of the user end, and those with another token come back at once.", (*API).tokenRemove)),
	}
}

// contactOperations are those on friends and blocks.
func contactOperations() []operation {
	return []operation{
		changing(op("contact.add", "Add a friend", "One direction: the user becomes a friend of the asking one, and may write to it and invite it without being a stranger. What waits from it in the request box is accepted. The own devices get a notice, as after every change of this list.", (*API).contactAdd)),
		changing(op("contact.remove", "Remove a friend", "One direction. Rooms stay as they are. The user is a stranger again, whatever was written to it before.", (*API).contactRemove)),
		changing(op("contact.set", "Mark a friend", "As a favourite. The own devices get a notice.", (*API).contactSet)),
		op("contact.list", "List friends", "Those whom the asking user has added, in pages; or, with since, what has changed of them: who is new, renamed, marked, or gone.", (*API).contactList),
		changing(op("block.set", "Block or unblock a user", "A blocked user does not notice: its messages look sent and are never shown, also not after unblocking. Its requests are declined. The own devices get a notice.", (*API).blockSet)),
		op("block.list", "List blocked users", "Those whom the asking user blocks, with the level. Declined message requests are not listed.", (*API).blockList),
	}
}

// roomOperations are those on rooms and conversations.
func roomOperations() []operation {
	return []operation{
		changing(op("room.create", "Create a room", "The asking user owns it. An identifier that is taken is a conflict, unless the asking user owns that room: then it is returned as it is.", (*API).roomCreate)),
		changing(op("room.invite", "Invite into a room", "Of friends of the asking user, by whoever may invite there. As the invited user has set, it is a member at once (joined) or asked (pending); an invitation that the user refuses or never sees looks like one that waits. Each user and room counts once a day. With several users each is told apart; with one, its refusal is that of the request.", (*API).roomInvite)),
		changing(op("room.leave", "Leave a room", "Its messages are not shown any more, also not earlier ones, unless the user comes back. Invitations into it are not shown for 30 days. An owner who leaves hands the room to the moderator, else the member, who has been in it longest.", (*API).roomLeave)),
		changing(op("room.remove", "Remove members", "Moderators remove members, the owner everybody else.", (*API).roomRemove)),
		changing(op("room.role", "Give a role", "By the owner; there may be several moderators. Making somebody else the owner makes the asking one a moderator; to ask first, see room.offer.", (*API).roomRole)),
		changing(op("room.set", "Change a room", "Title, description, picture, what new members see, and who invites: by moderators and the owner. What is absent stays as it is.", (*API).roomSet)),
		op("room.list", "List conversations", "Rooms the user is in and 1:1 conversations, the newest first, with the last message and how many are unread. Hidden ones are left out.", (*API).roomList),
		op("room.members", "List a room's members", "By identifier. For members only.", (*API).roomMembers),
		op("room.history", "Read messages", "The envelopes that MQTT delivers, ascending. Without before and after: the newest.", (*API).roomHistory),
		op("room.get", "Look at a room", "What is set about it, and how the asking user stands in it. For members only.", (*API).roomGet),
		changing(op("room.hide", "Hide a conversation", "It is left out of the list until its next message.", (*API).roomHide)),
	}
}

// messageOperations are those on messages and read marks.
func messageOperations() []operation {
	return []operation{
		changing(op("message.send", "Send a message", "For senders without an MQTT connection. The answer means that the message is on disk.", (*API).messageSend)),
		changing(op("message.edit", "Edit a message", "By its author, for 24 hours. It is a record of its own with its own sequence.", (*API).messageEdit)),
		changing(op("message.recall", "Take a message back", "By its author for 24 hours, by a room's moderators at any time. Its text is not shown to anybody any more.", (*API).messageRecall)),
		changing(op("message.react", "React to a message", "One per emoji and user.", (*API).messageReact)),
		changing(op("message.pin", "Pin a message", "By moderators; in a 1:1 conversation by both.", (*API).messagePin)),
		changing(op("message.delete", "Delete messages for oneself", "A range of sequences, up to the newest. The others keep them.", (*API).messageDelete)),
		changing(op("read.set", "Move the read mark", "Forward only, on all devices of the user.", (*API).readSet)),
		op("read.list", "See how far was read", "How many members have read up to where, never who.", (*API).readList),
		op("sync", "Get what changed", "Without a token everything, with one what changed since. While more is true, sync again with the new token.", (*API).sync),
	}
}

// operatorOperations is the table of what operators may ask, over the admin listener and the admin socket.
func operatorOperations() []operation {
	return slices.Concat(moderatorOperations(), operatorEraseOperations(), operatorPushOperations(), announceOperations(), operatorAppOperations(), channelOperatorOperations(), broadcastOperatorOperations(), []operation{
		scoped(ScopeAccounts, changing(op("account.create", "Create an account", "And its first token, which opens any device of the user. The secret is told once.", (*API).accountCreate))),
		scoped(ScopeAccounts, op("account.list", "List accounts", "In the order of their creation.", (*API).accountList)),
		scoped(ScopeAccounts, op("account.get", "Look at an account", "Its profile and its state.", (*API).accountGet)),
		scoped(ScopeAccounts, changing(op("account.set", "Change an account", "Its profile, or its state: suspending ends all its connections at once.", (*API).accountSet))),
		scoped(ScopeAccounts, changing(op("account.token", "Make another account token", "It opens any device of the user. The secret is told once.", (*API).accountTokenCreate))),

		scoped(ScopeAccounts, op("device.list", "List a user's devices", "As device.list of the user.", (*API).opDeviceList)),
		scoped(ScopeAccounts, changing(op("device.create", "Make a device and its token", "As token.create of the user. The secret is told once.", (*API).opDeviceCreate))),
		scoped(ScopeAccounts, changing(op("device.remove", "Sign a user's device out", "As device.remove of the user.", (*API).opDeviceRemove))),
		scoped(ScopeAccounts, op("token.list", "List a user's tokens", "Without the secrets.", (*API).opTokenList)),
		scoped(ScopeAccounts, changing(op("token.remove", "End a user's token", "As token.remove of the user.", (*API).opTokenRemove))),

		scoped(ScopeAccounts, changing(op("friend.set", "Make two users friends", "In both directions, or end it in both.", (*API).friendSet))),

		scoped(ScopeRooms, changing(op("room.create", "Create a room", "With its owner and first members, who see it from its first record on.", (*API).opRoomCreate))),
		scoped(ScopeRooms, changing(op("room.add", "Add members", "Whether they are friends of anybody or not.", (*API).opRoomAdd))),
		scoped(ScopeRooms, changing(op("room.remove", "Remove members", "Anybody. If it is the owner, the room is handed over first.", (*API).roomRemove))),
		scoped(ScopeRooms, op("room.members", "List a room's members", "By identifier.", (*API).roomMembers)),
		scoped(ScopeRooms, changing(op("room.set", "Change a room", "As room.set of its moderators.", (*API).roomSet))),
		scoped(ScopeRooms, changing(op("room.role", "Give a role", "Making somebody the owner makes the owner before a moderator.", (*API).roomRole))),
		scoped(ScopeRooms, op("room.list", "List rooms", "Every room there is, open and closed ones too.", (*API).opRoomList)),
		scoped(ScopeRooms, op("room.get", "Look at a room", "What is set about it.", (*API).roomGet)),
		scoped(ScopeRooms, changing(op("room.mute", "Mute a member", "As room.mute of its moderators.", (*API).roomMute))),
		scoped(ScopeRooms, changing(op("room.close", "Close a room, or open it again", "A closed room can be read by its members, who are told the reason; nobody writes in it and nobody comes in.", (*API).roomClose))),

		scoped(ScopeOperators, changing(op("operator.token.create", "Make an operator's token", "With scopes that the asking operator has. The secret is told once.", (*API).operatorTokenCreate))),
		scoped(ScopeOperators, op("operator.token.list", "List operators' tokens", "Without the secrets.", (*API).operatorTokenList)),
		scoped(ScopeOperators, changing(op("operator.token.remove", "End an operator's token", "It opens nothing from then on.", (*API).operatorTokenRemove))),

		scoped(ScopeStatus, op("server.status", "How the server is", "Version, connected devices, storage, limits.", (*API).serverStatus)),
	})
}

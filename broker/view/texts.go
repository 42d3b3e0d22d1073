package view

import (
	"bytes"

	"github.com/hwangso/hwangso/store"
)

// textKey names a sentence or word that the server says to people.
type textKey uint8

const (
	textNone    textKey = iota
	textJoined          // {who} became a member
	textInvited         // {by} made {who} a member
	textLeft
	textRemoved   // {who} was removed by nobody in particular
	textRemovedBy // {by} removed {who}
	textMember    // {who} has this role now
	textModerator
	textOwner
	textTitled // the title is {text} now
	textTitledBy
	textUntitled // there is no title any more
	textUntitledBy
	textRecalled // in place of a message that was taken back
	textRecall   // {by} took a message back
	textEdit     // {text} is the new text
	textEdited   // after a text
	textReact    // {text} is an emoji
	textUnreact
	textPin
	textUnpin
	textUnread   // {text} is a number
	textStranger // after a name
	textNobody   // in place of the name of somebody who is gone
	textImage    // the kinds, in brackets before a caption
	textVideo
	textAudio
	textFile
	textPoll
	textLocation
	textLink
	textCoupon
	textGift
	textNotFriend // sentences for the protocol words of refusals
	textNotMember
	textMuted
	textSuspended
	textLimited
	textUnreachable
	textYouBlocked
	textRole
	textRate
	textSlow
	textNotFound
	textTooLarge
	textFull
	textUnavailable
	textKeys
)

// errorTexts are the protocol words that have a sentence of their own in every language. The sentences of the others
// speak to programmers, in English.
var errorTexts = map[string]textKey{
	store.ReasonNotFriend: textNotFriend, store.ReasonNotMember: textNotMember, store.ReasonMuted: textMuted,
	store.ReasonSuspended: textSuspended, store.ReasonLimited: textLimited, store.ReasonUnreachable: textUnreachable,
	store.ReasonYouBlocked: textYouBlocked, store.ReasonRole: textRole, store.ReasonRate: textRate,
	store.ReasonSlow: textSlow, "not_found": textNotFound, "too_large": textTooLarge, "full": textFull,
	"unavailable": textUnavailable,
}

// ErrorText is the sentence for a protocol word of a refusal in the language, "" if the word has none.
func ErrorText(l Lang, word string) string {
	if sentence := refusals[word]; sentence != nil {
		if l >= langs {
			l = English
		}
		return sentence[l]
	}
	return phrase(l, errorTexts[word])
}

func phrase(l Lang, key textKey) string {
	if l >= langs {
		l = English
	}
	return texts[l][key]
}

// args are what stands for {who}, {by} and {text}. They come from users.
type args struct{ who, by, text []byte }

// appendPhrase appends a sentence with its placeholders filled in, clean.
func appendPhrase(dst []byte, l Lang, key textKey, a args) []byte {
	return appendFilled(dst, phrase(l, key), a)
}

// appendFilled is appendPhrase for a sentence.
func appendFilled(dst []byte, sentence string, a args) []byte {
	for s := []byte(sentence); ; {
		before, after, found := bytes.Cut(s, []byte("{"))
		dst = append(dst, before...)
		if !found {
			return dst
		}
		name, rest, _ := bytes.Cut(after, []byte("}"))
		switch string(name) {
		case "who":
			dst = appendClean(dst, a.who)
		case "by":
			dst = appendClean(dst, a.by)
		case "text":
			dst = appendClean(dst, a.text)
		}
		s = rest
	}
}

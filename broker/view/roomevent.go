package view

import (
	"strconv"

	"github.com/hwangso/hwangso/store"
)

// What happened in a room without changing who is in it.
const (
	RoomLocked   = "locked"
	RoomUnlocked = "unlocked"
	RoomSlow     = "slow" // At seconds
	RoomMuted    = "muted"
	RoomUnmuted  = "unmuted"
	RoomSettings = "room_settings" // what room.get tells has changed
	RoomClosed   = "closed"        // by an operator; the record's text, if it has one, is the reason
	RoomReopened = "reopened"
)

// RoomEvent is what a record of kind system says that carries no change of the membership. It travels in the record's
// Extra, with the account by number. The record's sender did it.
type RoomEvent struct {
	What string          // RoomLocked …, the op of x
	Who  store.AccountID // of RoomMuted and RoomUnmuted
	At   int64           // of RoomSlow: seconds, 0: none. Of RoomMuted: Unix milliseconds of its end, 0: it has none
	Text string          // of RoomClosed: why. It is the record's text
}

// Extra encodes the event for a Draft of kind store.KindSystem.
func (e RoomEvent) Extra() []byte {
	n := Notice{What: e.What, Who: e.Who}
	if e.At > 0 {
		n.Device = strconv.FormatInt(e.At, 10)
	}
	return n.Extra()
}

// roomEventOf is the inverse of Extra; what is no event is the zero RoomEvent.
func roomEventOf(extra []byte) RoomEvent {
	n := noticeOf(extra)
	at, err := strconv.ParseInt(n.Device, 10, 64)
	if err != nil || at < 0 {
		at = 0
	}
	return RoomEvent{What: n.What, Who: n.Who, At: at}
}

func (e RoomEvent) event(names Names) (event, bool) {
	return event{op: e.What, who: nameOf(e.Who, names), at: store.Seq(e.At)}, e.What != ""
}

// appendRoomEvent appends the event as a sentence.
func appendRoomEvent(dst []byte, r *store.Record, l Lang, names Names) []byte {
	e := roomEventOf(r.Extra)
	key := e.What
	if key == RoomSlow && e.At == 0 {
		key = roomFast
	}
	said, ok := roomEvents[key]
	if !ok {
		return appendClean(dst, r.Text)
	}
	if l >= langs {
		l = English
	}
	a := args{by: appendName(nil, r.Sender, l, names), text: strconv.AppendInt(nil, e.At, 10)}
	if e.Who != 0 {
		a.who = appendName(nil, e.Who, l, names)
	}
	if dst = appendFilled(dst, said[l], a); len(r.Text) > 0 {
		dst = appendClean(append(dst, ": "...), r.Text)
	}
	return dst
}

// roomFast is the end of RoomSlow, among the sentences.
const roomFast = "fast"

// roomEvents are the sentences of events in every language: {by} did it to {who}; {text} is a number of seconds.
var roomEvents = map[string][langs]string{
	RoomLocked: {
		English:            "{by} locked the room",
		Korean:             "{by}님이 대화방을 잠갔습니다",
		Japanese:           "{by}さんがルームをロックしました",
		Spanish:            "{by} bloqueó la sala",
		ChineseTraditional: "{by} 鎖定了聊天室",
		ChineseSimplified:  "{by} 锁定了聊天室",
		Thai:               "{by} ล็อกห้องแล้ว",
		Turkish:            "{by} odayı kilitledi",
		German:             "{by} hat den Raum gesperrt",
		French:             "{by} a verrouillé le salon",
		Portuguese:         "{by} trancou a sala",
		Italian:            "{by} ha bloccato la stanza",
	},
	RoomUnlocked: {
		English:            "{by} unlocked the room",
		Korean:             "{by}님이 대화방 잠금을 해제했습니다",
		Japanese:           "{by}さんがルームのロックを解除しました",
		Spanish:            "{by} desbloqueó la sala",
		ChineseTraditional: "{by} 解除了聊天室的鎖定",
		ChineseSimplified:  "{by} 解除了聊天室的锁定",
		Thai:               "{by} ปลดล็อกห้องแล้ว",
		Turkish:            "{by} odanın kilidini açtı",
		German:             "{by} hat den Raum entsperrt",
		French:             "{by} a déverrouillé le salon",
		Portuguese:         "{by} destrancou a sala",
		Italian:            "{by} ha sbloccato la stanza",
	},
	RoomSlow: {
		English:            "{by} turned on slow mode: one message every {text} s",
		Korean:             "{by}님이 슬로 모드를 켰습니다: {text}초에 메시지 1개",
		Japanese:           "{by}さんが低速モードをオンにしました：{text}秒に1件",
		Spanish:            "{by} activó el modo lento: un mensaje cada {text} s",
		ChineseTraditional: "{by} 開啟了慢速模式：每 {text} 秒一則訊息",
		ChineseSimplified:  "{by} 开启了慢速模式：每 {text} 秒一条消息",
		Thai:               "{by} เปิดโหมดช้า: หนึ่งข้อความทุก {text} วินาที",
		Turkish:            "{by} yavaş modu açtı: {text} saniyede bir mesaj",
		German:             "{by} hat den langsamen Modus eingeschaltet: eine Nachricht alle {text} s",
		French:             "{by} a activé le mode lent : un message toutes les {text} s",
		Portuguese:         "{by} ativou o modo lento: uma mensagem a cada {text} s",
		Italian:            "{by} ha attivato la modalità lenta: un messaggio ogni {text} s",
	},
	roomFast: {
		English:            "{by} turned off slow mode",
		Korean:             "{by}님이 슬로 모드를 껐습니다",
		Japanese:           "{by}さんが低速モードをオフにしました",
		Spanish:            "{by} desactivó el modo lento",
		ChineseTraditional: "{by} 關閉了慢速模式",
		ChineseSimplified:  "{by} 关闭了慢速模式",
		Thai:               "{by} ปิดโหมดช้าแล้ว",
		Turkish:            "{by} yavaş modu kapattı",
		German:             "{by} hat den langsamen Modus ausgeschaltet",
		French:             "{by} a désactivé le mode lent",
		Portuguese:         "{by} desativou o modo lento",
		Italian:            "{by} ha disattivato la modalità lenta",
	},
	RoomMuted: {
		English:            "{by} muted {who}",
		Korean:             "{by}님이 {who}님의 글쓰기를 제한했습니다",
		Japanese:           "{by}さんが{who}さんの発言を制限しました",
		Spanish:            "{by} silenció a {who}",
		ChineseTraditional: "{by} 將 {who} 禁言",
		ChineseSimplified:  "{by} 将 {who} 禁言",
		Thai:               "{by} ปิดไม่ให้ {who} ส่งข้อความ",
		Turkish:            "{by}, {who} kullanıcısını susturdu",
		German:             "{by} hat {who} stummgeschaltet",
		French:             "{by} a rendu {who} muet",
		Portuguese:         "{by} silenciou {who}",
		Italian:            "{by} ha silenziato {who}",
	},
	RoomUnmuted: {
		English:            "{by} lets {who} write again",
		Korean:             "{by}님이 {who}님의 글쓰기 제한을 해제했습니다",
		Japanese:           "{by}さんが{who}さんの発言制限を解除しました",
		Spanish:            "{by} permite que {who} vuelva a escribir",
		ChineseTraditional: "{by} 解除了 {who} 的禁言",
		ChineseSimplified:  "{by} 解除了 {who} 的禁言",
		Thai:               "{by} อนุญาตให้ {who} ส่งข้อความได้อีกครั้ง",
		Turkish:            "{by}, {who} kullanıcısının yeniden yazmasına izin verdi",
		German:             "{by} lässt {who} wieder schreiben",
		French:             "{by} permet à {who} d’écrire à nouveau",
		Portuguese:         "{by} permite que {who} volte a escrever",
		Italian:            "{by} permette a {who} di scrivere di nuovo",
	},
	RoomSettings: {
		English:            "The settings of the room have changed",
		Korean:             "대화방 설정이 변경되었습니다",
		Japanese:           "ルームの設定が変更されました",
		Spanish:            "Los ajustes de la sala han cambiado",
		ChineseTraditional: "聊天室設定已變更",
		ChineseSimplified:  "聊天室设置已更改",
		Thai:               "การตั้งค่าห้องเปลี่ยนไปแล้ว",
		Turkish:            "Odanın ayarları değişti",
		German:             "Die Einstellungen des Raums haben sich geändert",
		French:             "Les réglages du salon ont changé",
		Portuguese:         "As configurações da sala mudaram",
		Italian:            "Le impostazioni della stanza sono cambiate",
	},
	RoomClosed: {
		English:            "This room was closed by the operators",
		Korean:             "운영자가 이 대화방을 닫았습니다",
		Japanese:           "運営によりこのルームは閉鎖されました",
		Spanish:            "Los operadores han cerrado esta sala",
		ChineseTraditional: "此聊天室已被管理方關閉",
		ChineseSimplified:  "此聊天室已被管理方关闭",
		Thai:               "ผู้ดูแลระบบปิดห้องนี้แล้ว",
		Turkish:            "Bu oda yöneticiler tarafından kapatıldı",
		German:             "Dieser Raum wurde von den Betreibern geschlossen",
		French:             "Ce salon a été fermé par les opérateurs",
		Portuguese:         "Esta sala foi fechada pelos operadores",
		Italian:            "Questa stanza è stata chiusa dagli operatori",
	},
	RoomReopened: {
		English:            "This room is open again",
		Korean:             "이 대화방이 다시 열렸습니다",
		Japanese:           "このルームは再び開かれました",
		Spanish:            "Esta sala vuelve a estar abierta",
		ChineseTraditional: "此聊天室已重新開放",
		ChineseSimplified:  "此聊天室已重新开放",
		Thai:               "ห้องนี้เปิดอีกครั้งแล้ว",
		Turkish:            "Bu oda yeniden açıldı",
		German:             "Dieser Raum ist wieder offen",
		French:             "Ce salon est de nouveau ouvert",
		Portuguese:         "Esta sala está aberta de novo",
		Italian:            "Questa stanza è di nuovo aperta",
	},
}

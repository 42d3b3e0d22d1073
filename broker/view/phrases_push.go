package view

// pushPhrase is a text of pushes: a title that is the same in every language ("": none) and a sentence. {n} is a number
// of at least two, but for a summary; {in} is a user or the title of a room.
type pushPhrase struct {
	key   string
	args  string // their names, in order
	title string
	body  [langs]string
}

var newMessage = [langs]string{
	English:            "New message",
	Korean:             "새 메시지",
	Japanese:           "新着メッセージ",
	Spanish:            "Nuevo mensaje",
	ChineseTraditional: "新訊息",
	ChineseSimplified:  "新消息",
	Thai:               "ข้อความใหม่",
	Turkish:            "Yeni mesaj",
	German:             "Neue Nachricht",
	French:             "Nouveau message",
	Portuguese:         "Nova mensagem",
	Italian:            "Nuovo messaggio",
}

var newMessages = [langs]string{
	English:            "{n} new messages",
	Korean:             "새 메시지 {n}개",
	Japanese:           "新着メッセージ{n}件",
	Spanish:            "{n} mensajes nuevos",
	ChineseTraditional: "{n} 則新訊息",
	ChineseSimplified:  "{n} 条新消息",
	Thai:               "ข้อความใหม่ {n} ข้อความ",
	Turkish:            "{n} yeni mesaj",
	German:             "{n} neue Nachrichten",
	French:             "{n} nouveaux messages",
	Portuguese:         "{n} mensagens novas",
	Italian:            "{n} nuovi messaggi",
}

var newPost = [langs]string{
	English:            "New post",
	Korean:             "새 소식",
	Japanese:           "新しい投稿",
	Spanish:            "Nueva publicación",
	ChineseTraditional: "新貼文",
	ChineseSimplified:  "新动态",
	Thai:               "โพสต์ใหม่",
	Turkish:            "Yeni gönderi",
	German:             "Neuer Beitrag",
	French:             "Nouvelle publication",
	Portuguese:         "Nova publicação",
	Italian:            "Nuovo post",
}

// wordless is a sentence without words: names and what was written.
func wordless(s string) (out [langs]string) {
	for i := range out {
		out[i] = s
	}
	return out
}

// pushTexts are the texts of pushes, beside those of pushKinds.
var pushTexts = []pushPhrase{
	{key: "push_new", body: newMessage},
	{key: "push_news", args: "n", body: newMessages},
	{key: "push_from", args: "who", title: "{who}", body: newMessage},
	{key: "push_from_in", args: "who room", title: "{room}", body: [langs]string{
		English:            "{who} sent a message",
		Korean:             "{who}님이 메시지를 보냈습니다",
		Japanese:           "{who}さんがメッセージを送信しました",
		Spanish:            "{who} ha enviado un mensaje",
		ChineseTraditional: "{who} 傳送了一則訊息",
		ChineseSimplified:  "{who} 发来一条消息",
		Thai:               "{who} ส่งข้อความ",
		Turkish:            "{who} bir mesaj gönderdi",
		German:             "{who} hat eine Nachricht gesendet",
		French:             "{who} a envoyé un message",
		Portuguese:         "{who} enviou uma mensagem",
		Italian:            "{who} ha inviato un messaggio",
	}},
	{key: "push_count", args: "n in", title: "{in}", body: newMessages},
	{key: "push_latest", args: "n who text", title: "{who} ({n})", body: wordless("{text}")},
	{key: "push_latest_in", args: "n who room text", title: "{room} ({n})", body: wordless("{who}: {text}")},
	{key: "push_stranger", body: [langs]string{
		English:            "New message from someone who is not in your contacts",
		Korean:             "친구가 아닌 사용자가 보낸 새 메시지",
		Japanese:           "連絡先にない相手からの新着メッセージ",
		Spanish:            "Nuevo mensaje de alguien que no está en tus contactos",
		ChineseTraditional: "來自非聯絡人的新訊息",
		ChineseSimplified:  "来自非联系人的新消息",
		Thai:               "ข้อความใหม่จากผู้ที่ไม่ได้อยู่ในรายชื่อติดต่อของคุณ",
		Turkish:            "Kişilerinizde olmayan birinden yeni mesaj",
		German:             "Neue Nachricht von jemandem, der nicht in deinen Kontakten ist",
		French:             "Nouveau message d’une personne absente de vos contacts",
		Portuguese:         "Nova mensagem de alguém que não está nos seus contatos",
		Italian:            "Nuovo messaggio da qualcuno che non è tra i tuoi contatti",
	}},
	{key: "push_requests", body: [langs]string{
		English:            "You have message requests",
		Korean:             "메시지 요청이 있습니다",
		Japanese:           "メッセージリクエストが届いています",
		Spanish:            "Tienes solicitudes de mensajes",
		ChineseTraditional: "你有訊息要求",
		ChineseSimplified:  "你有消息请求",
		Thai:               "คุณมีคำขอส่งข้อความ",
		Turkish:            "Mesaj istekleriniz var",
		German:             "Du hast Nachrichtenanfragen",
		French:             "Vous avez des demandes de message",
		Portuguese:         "Você tem solicitações de mensagem",
		Italian:            "Hai richieste di messaggi",
	}},
	{key: "push_summary", args: "n", body: [langs]string{
		English:            "{n} unread messages",
		Korean:             "안 읽은 메시지 {n}개",
		Japanese:           "未読メッセージ{n}件",
		Spanish:            "{n} mensajes sin leer",
		ChineseTraditional: "{n} 則未讀訊息",
		ChineseSimplified:  "{n} 条未读消息",
		Thai:               "ข้อความที่ยังไม่ได้อ่าน {n} ข้อความ",
		Turkish:            "{n} okunmamış mesaj",
		German:             "{n} ungelesene Nachrichten",
		French:             "{n} messages non lus",
		Portuguese:         "{n} mensagens não lidas",
		Italian:            "{n} messaggi non letti",
	}},
	{key: "push_recalled", body: [langs]string{
		English:            "A message was deleted",
		Korean:             "메시지가 삭제되었습니다",
		Japanese:           "メッセージが削除されました",
		Spanish:            "Se ha eliminado un mensaje",
		ChineseTraditional: "一則訊息已刪除",
		ChineseSimplified:  "一条消息已删除",
		Thai:               "ข้อความถูกลบแล้ว",
		Turkish:            "Bir mesaj silindi",
		German:             "Eine Nachricht wurde gelöscht",
		French:             "Un message a été supprimé",
		Portuguese:         "Uma mensagem foi apagada",
		Italian:            "Un messaggio è stato eliminato",
	}},
	{key: "push_device", body: [langs]string{
		English:            "Your account was signed in on a new device",
		Korean:             "새 기기에서 로그인했습니다",
		Japanese:           "新しい端末でログインがありました",
		Spanish:            "Se ha iniciado sesión en un dispositivo nuevo",
		ChineseTraditional: "你的帳號已在新裝置上登入",
		ChineseSimplified:  "你的账号已在新设备上登录",
		Thai:               "มีการเข้าสู่ระบบจากอุปกรณ์ใหม่",
		Turkish:            "Hesabınıza yeni bir cihazdan giriş yapıldı",
		German:             "Anmeldung auf einem neuen Gerät",
		French:             "Connexion sur un nouvel appareil",
		Portuguese:         "Novo dispositivo conectado à sua conta",
		Italian:            "Accesso da un nuovo dispositivo",
	}},
	{key: "push_post", body: newPost},
	{key: "push_post_from", args: "who", title: "{who}", body: newPost},
	{key: "push_ask", args: "who", title: "{who}", body: [langs]string{
		English:            "New question",
		Korean:             "새 문의",
		Japanese:           "新しい質問",
		Spanish:            "Nueva pregunta",
		ChineseTraditional: "新提問",
		ChineseSimplified:  "新提问",
		Thai:               "คำถามใหม่",
		Turkish:            "Yeni soru",
		German:             "Neue Frage",
		French:             "Nouvelle question",
		Portuguese:         "Nova pergunta",
		Italian:            "Nuova domanda",
	}},
	{key: "push_asks", args: "n who", title: "{who}", body: [langs]string{
		English:            "{n} new questions",
		Korean:             "새 문의 {n}건",
		Japanese:           "新しい質問{n}件",
		Spanish:            "{n} preguntas nuevas",
		ChineseTraditional: "{n} 則新提問",
		ChineseSimplified:  "{n} 条新提问",
		Thai:               "คำถามใหม่ {n} ข้อ",
		Turkish:            "{n} yeni soru",
		German:             "{n} neue Fragen",
		French:             "{n} nouvelles questions",
		Portuguese:         "{n} novas perguntas",
		Italian:            "{n} nuove domande",
	}},
}

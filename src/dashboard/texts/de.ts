import type { FirstTexts } from './en.ts'

/** German, as far as a visitor without a wallet needs it. */
export const de: FirstTexts = {
  skip: 'Zum Inhalt springen',
  nav: 'Hauptmenü',
  'nav.keys': 'Schlüssel',
  'nav.orders': 'Orders',
  'nav.audit': 'Protokoll',
  docs: 'API-Doku',
  language: 'Sprache',
  theme: 'Farben',
  'theme.system': 'Wie das System',
  'theme.light': 'Hell',
  'theme.dark': 'Dunkel',
  loading: 'Wird geladen',
  close: 'Schließen',
  retry: 'Noch einmal',
  retryIn: 'Neuer Versuch in {time}',
  waitFor: 'Wieder möglich in {time}',
  waitOver: 'Jetzt wieder möglich',
  dismiss: 'Ausblenden',
  details: 'Einzelheiten',
  copy: '{what} kopieren',
  copied: 'Kopiert: {what}',
  'copy.failed': 'Der Browser hat das Kopieren nicht erlaubt',
  remove: '{what} entfernen',
  optional: 'freiwillig',
  address: 'Wallet-Adresse',
  'hero.title': 'API-Schlüssel, die Ihre Wallet unterschreibt, begrenzt und widerruft',
  'hero.text':
    'Geben Sie einem Handelsbot einen Schlüssel, der so viel von einem Token ausgeben darf, von einer Adresse, bis zu einem Tag. Kein Passwort, kein Konto: Ihre Stacks-Wallet erteilt jeden Schlüssel und nimmt ihn sofort zurück.',
  connect: 'Wallet verbinden',
  'connect.help':
    'Eine Unterschrift öffnet für eine Stunde eine Sitzung, die nur liest. Jede spätere Änderung ist eine eigene Unterschrift.',
  'connect.choose': 'Wallet wählen',
  throwaway: 'Wegwerf-Wallet benutzen',
  'throwaway.help':
    'Dies ist ein Devnet: Seine Token sind wertlos. Eine Wegwerf-Wallet ist ein privater Schlüssel in diesem Tab, der mit ihm verschwindet.',
  install: '{name} installieren',
  'point.grant': 'Erteilt durch Unterschrift',
  'point.grant.text':
    'Jede Änderung ist eine Nachricht, die diese Seite zeigt, bevor Ihre Wallet sie unterschreibt. Der Dienst bewahrt den Beweis auf.',
  'point.limits': 'Von Anfang an eng',
  'point.limits.text':
    'Betrag am Tag, Token, Empfänger, Adressen, offene Orders, letzter Tag: Ein gestohlener Schlüssel kann, was Sie unterschrieben haben, und nicht mehr.',
  'point.revoke': 'Sofort weg',
  'point.revoke.text':
    'Ein widerrufener Schlüssel scheitert bei der nächsten Anfrage. Ein Knopf widerruft alle und storniert, was offen ist.',
  'wallet.connected': 'Verbundene Wallet',
  'wallet.throwaway': 'Wegwerf-Wallet',
  'session.help':
    'Diese Seite liest nach einer Unterschrift eine Stunde lang. Von sich aus ändert sie nichts.',
  'session.over': 'zu Ende',
  'session.again': 'Neue Sitzung öffnen',
  disconnect: 'Trennen',
  funds: 'Wallet und Guthaben',
  'status.active': 'Gültig',
  'status.suspended': 'Angehalten',
  'status.revoked': 'Widerrufen',
  'status.expired': 'Abgelaufen',
  'limit.perDay': 'Am Tag',
  'limit.from': 'Von',
  panic: 'Notfall',
  'fault.offline': 'Der Dienst ist nicht erreichbar',
  'fault.offline.text':
    'Prüfen Sie Ihre Verbindung. Ist sie wieder da, versucht die Seite es erneut.',
  'fault.cancelled': 'Sie haben abgebrochen',
  'fault.cancelled.text': 'Nichts wurde unterschrieben und nichts hat sich geändert.',
  'fault.noWallet': 'Keine Wallet in diesem Browser',
  'fault.noWallet.text':
    'Installieren Sie eine Stacks-Wallet und laden Sie neu, oder öffnen Sie diese Seite im Browser Ihrer Wallet-App.',
  'fault.wrongNetwork': 'Die Wallet ist in einem anderen Netz',
  'fault.wrongNetwork.text':
    'Stellen Sie die Wallet auf das Netz ein, das neben dem Logo steht, und versuchen Sie es noch einmal.',
  'fault.wrongAccount': 'Ein anderes Konto ist ausgewählt',
  'fault.wrongAccount.text':
    'Nichts wurde gesendet. Wählen Sie in Ihrer Wallet das Konto, das hier verbunden ist, oder trennen Sie es und verbinden Sie das andere.',
  'fault.switched': 'Ihre Wallet hat Konto oder Netz gewechselt',
  'fault.switched.text':
    'Das Konto davor ist getrennt. Verbinden Sie das, das jetzt ausgewählt ist.',
  'fault.multisig': 'Dieses Konto hat mehrere Schlüssel',
  'fault.multisig.text':
    'Eine Nachricht wird mit einem Schlüssel unterschrieben. Wählen Sie ein Konto mit einem Schlüssel.',
  'fault.unsupported': 'Diese Wallet kann das nicht unterschreiben',
  'fault.unsupported.text': 'Nichts wurde gesendet.',
  'fault.brokenWallet': 'Die Wallet hat versagt',
  'fault.brokenWallet.text':
    'Nichts wurde gesendet. Aktualisieren Sie die Wallet oder verwenden Sie eine andere.',
  'fault.late': 'Die Unterschrift kam zu spät',
  'fault.late.text':
    'Nichts hat sich geändert. Unterschreiben Sie noch einmal: Eine Nachricht gilt nur wenige Minuten.',
  'fault.clock': 'Die Uhren gehen verschieden',
  'fault.clock.text': 'Stellen Sie die Uhr dieses Geräts. Eine Nachricht gilt nur wenige Minuten.',
  'fault.ended': 'Ihre Sitzung ist zu Ende',
  'fault.ended.text':
    'Was Sie sehen, kann veraltet sein. Eine Unterschrift öffnet eine neue Sitzung.',
  'fault.limited': 'Zu viele Anfragen',
  'fault.limited.text': 'Der Dienst bittet um eine Pause.',
  'fault.suspended': 'Diese Wallet ist gesperrt',
  'fault.suspended.text':
    'Der Betreiber hat sie gesperrt. Schlüssel lassen sich noch widerrufen. Fragen Sie den Betreiber nach dem Grund.',
  'fault.tampered': 'Die Daten des Dienstes wurden verfälscht',
  'fault.tampered.text':
    'Was der Dienst sagt, widerspricht dem, was Ihre Wallet unterschrieben hat. Trauen Sie nicht, was er von Ihren Schlüsseln zeigt. Speichern Sie einen Export, widerrufen Sie Ihre Schlüssel und fragen Sie den Betreiber.',
  'fault.unavailable': 'Der Dienst ist nicht bereit',
  'fault.unavailable.text':
    'Seine Datenbank oder die Chain antwortet nicht. Nichts ist verloren. Versuchen Sie es gleich wieder.',
  'fault.notExport': 'Das ist kein Export eines Protokolls',
  'fault.notExport.text':
    'Wählen Sie eine Datei, die diese Seite oder die Befehlszeile gespeichert hat.',
  'fault.otherExport': 'Dieser Export gehört zu einem anderen Wallet',
  'fault.otherExport.text':
    'Wählen Sie einen, der für das verbundene Wallet und Netz gesichert wurde.',
  'fault.other': 'Das hat nicht geklappt',
}

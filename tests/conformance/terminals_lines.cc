// The line discipline: what is typed, what the program reads, what the screen shows.
#include <ostream>

#include "tests/conformance/terminals_support.h"

namespace {

constexpr const char* kNothing = "";

struct Row {
  const char* name;
  std::function<void(termios&)> modes;
  std::string typed;  // Ends something that the program can read.
  std::string read;   // In one read(2).
  std::string shown;
};
std::ostream& operator<<(std::ostream& out, const Row& row) { return out << row.name; }

tcflag_t& Local(termios& t) { return t.c_lflag; }

const Row kRows[] = {
    {"Plain", [](termios&) {}, "abc\n", "abc\n", "abc\r\n"},
    {"ReturnIsNewline", [](termios&) {}, "abc\r", "abc\n", "abc\r\n"},
    {"IgnoredReturn", [](termios& t) { t.c_iflag |= IGNCR; }, "a\rb\n", "ab\n", "ab\r\n"},
    {"ReturnStaysWithoutIcrnl", [](termios& t) { t.c_iflag &= ~ICRNL; }, "a\rb\n", "a\rb\n",
     "a^Mb\r\n"},
    {"NewlineBecomesReturn",
     [](termios& t) {
       t.c_iflag = (t.c_iflag & ~ICRNL) | INLCR;
       t.c_cc[VEOL] = '.';
     },
     "a\nb.", "a\rb.", "a^Mb."},
    {"NoEcho", [](termios& t) { Local(t) &= ~ECHO; }, "abc\n", "abc\n", kNothing},
    {"EchoOfNewlineOnly", [](termios& t) { Local(t) = (Local(t) & ~ECHO) | ECHONL; }, "abc\n",
     "abc\n", "\r\n"},
    {"ControlCharactersShowAsCarets", [](termios&) {}, "a\001\033b\n", "a\001\033b\n",
     "a^A^[b\r\n"},
    {"DeleteShowsAsCaretQuestion", [](termios& t) { t.c_cc[VERASE] = '#'; }, "a\177b\n", "a\177b\n",
     "a^?b\r\n"},
    {"ControlCharactersShowThemselves", [](termios& t) { Local(t) &= ~ECHOCTL; }, "a\001b\n",
     "a\001b\n", "a\001b\r\n"},
    {"TabShowsItself", [](termios&) {}, "a\tb\n", "a\tb\n", "a\tb\r\n"},
    {"Erase", [](termios&) {}, "abx\177c\n", "abc\n", "abx\b \bc\r\n"},
    {"EraseNothing", [](termios&) {}, "\177\177a\n", "a\n", "a\r\n"},
    {"EraseControlCharacter", [](termios&) {}, "a\001\177b\n", "ab\n", "a^A\b \b\b \bb\r\n"},
    {"EraseControlCharacterHidden", [](termios& t) { Local(t) &= ~ECHOCTL; }, "a\001\177b\n",
     "ab\n", "a\001b\r\n"},
    {"EraseTab", [](termios&) {}, "ab\t\177c\n", "abc\n", "ab\t\b\b\b\b\b\bc\r\n"},
    {"EraseTabAfterTab", [](termios&) {}, "\ta\t\177c\n", "\tac\n", "\ta\t\b\b\b\b\b\b\bc\r\n"},
    {"EraseTabAfterControl", [](termios&) {}, "\001\t\177c\n", "\001c\n", "^A\t\b\b\b\b\b\bc\r\n"},
    {"EraseWithoutEchoe", [](termios& t) { Local(t) &= ~ECHOE; }, "ab\177c\n", "ac\n", "ab^?c\r\n"},
    {"EraseForPrinters", [](termios& t) { Local(t) = (Local(t) & ~ECHOE) | ECHOPRT; },
     "abc\177\177d\n", "ad\n", "abc\\cb/d\r\n"},
    {"EraseForPrintersToTheStart", [](termios& t) { Local(t) |= ECHOPRT; }, "a\177b\n", "b\n",
     "a\\a/b\r\n"},
    {"EraseWithAnotherCharacter", [](termios& t) { t.c_cc[VERASE] = '#'; }, "ab#c\n", "ac\n",
     "ab\b \bc\r\n"},
    {"EraseOneByteOfUtf8", [](termios& t) { t.c_iflag &= ~IUTF8; }, "a\303\251\177\n", "a\303\n",
     "a\303\251\b \b\r\n"},
    {"EraseUtf8", [](termios& t) { t.c_iflag |= IUTF8; }, "a\303\251\177b\n", "ab\n",
     "a\303\251\b \bb\r\n"},
    {"EraseUtf8OfFourBytes", [](termios& t) { t.c_iflag |= IUTF8; }, "\360\237\230\200\177b\n",
     "b\n", "\360\237\230\200\b \bb\r\n"},
    {"EraseTabAfterUtf8", [](termios& t) { t.c_iflag |= IUTF8; }, "\303\251\t\177b\n",
     "\303\251b\n", "\303\251\t\b\b\b\b\b\b\bb\r\n"},
    {"EraseWord", [](termios&) {}, "one two\027x\n", "one x\n", "one two\b \b\b \b\b \bx\r\n"},
    {"EraseWordWithSpacesBehind", [](termios&) {}, "a b  \027x\n", "a x\n",
     "a b  \b \b\b \b\b \bx\r\n"},
    {"EraseWordStopsAtPunctuation", [](termios&) {}, "a.b_1\027x\n", "a.x\n",
     "a.b_1\b \b\b \b\b \bx\r\n"},
    {"EraseWordWantsIexten", [](termios& t) { Local(t) &= ~IEXTEN; }, "a\027\n", "a\027\n",
     "a^W\r\n"},
    {"Kill", [](termios&) {}, "abc\025d\n", "d\n", "abc\b \b\b \b\b \bd\r\n"},
    {"KillWithoutEchoke", [](termios& t) { Local(t) &= ~ECHOKE; }, "abc\025d\n", "d\n",
     "abc^U\r\nd\r\n"},
    {"KillWithoutEchok", [](termios& t) { Local(t) &= ~(ECHOK | ECHOKE); }, "abc\025d\n", "d\n",
     "abc^Ud\r\n"},
    {"KillUnseen", [](termios& t) { Local(t) &= ~ECHO; }, "abc\025d\n", "d\n", kNothing},
    {"Reprint", [](termios&) {}, "ab\022c\n", "abc\n", "ab^R\r\nabc\r\n"},
    {"ReprintWantsEcho", [](termios& t) { Local(t) &= ~ECHO; }, "ab\022c\n", "ab\022c\n", kNothing},
    {"LiteralNext", [](termios&) {}, "a\026\177b\n", "a\177b\n", "a^\b^?b\r\n"},
    {"LiteralNextOfEof", [](termios&) {}, "a\026\004b\n", "a\004b\n", "a^\b^Db\r\n"},
    {"LiteralNextOfNewlineIsNoEnd", [](termios&) {}, "a\026\nb\n", "a\nb\n", "a^\b^Jb\r\n"},
    {"LiteralNextOfInterrupt", [](termios&) {}, "a\026\003\n", "a\003\n", "a^\b^C\r\n"},
    {"LiteralNextWantsIexten", [](termios& t) { Local(t) &= ~IEXTEN; }, "a\026b\n", "a\026b\n",
     "a^Vb\r\n"},
    {"EndOfFileAtTheStart", [](termios&) {}, "\004", kNothing, kNothing},
    {"EndOfFilePushesWhatIsThere", [](termios&) {}, "abc\004", "abc", "abc"},
    {"OwnLineEnd", [](termios& t) { t.c_cc[VEOL] = '.'; }, "ab.", "ab.", "ab."},
    {"SecondLineEnd", [](termios& t) { t.c_cc[VEOL2] = ';'; }, "ab;", "ab;", "ab;"},
    {"SecondLineEndWantsIexten",
     [](termios& t) {
       t.c_cc[VEOL2] = ';';
       Local(t) &= ~IEXTEN;
     },
     "ab;\n", "ab;\n", "ab;\r\n"},
    {"DisabledCharacters", [](termios& t) { t.c_cc[VERASE] = t.c_cc[VKILL] = 0; },
     std::string("a\0b\177\n", 5), std::string("a\0b\177\n", 5), "a^@b^?\r\n"},
    {"Strip", [](termios& t) { t.c_iflag |= ISTRIP; }, "\341b\n", "ab\n", "ab\r\n"},
    {"LowerCase", [](termios& t) { t.c_iflag |= IUCLC; }, "ABc\n", "abc\n", "abc\r\n"},
    {"LowerCaseWantsIexten",
     [](termios& t) {
       t.c_iflag |= IUCLC;
       Local(t) &= ~IEXTEN;
     },
     "ABc\n", "ABc\n", "ABc\r\n"},
    {"ParityMarksDouble", [](termios& t) { t.c_iflag |= PARMRK; }, "a\377b\n", "a\377\377b\n",
     "a\377b\r\n"},
    {"ParityMarksAfterStripping",
     [](termios& t) {
       t.c_iflag |= PARMRK | ISTRIP;
       t.c_cc[VERASE] = 0;
     },
     "a\377\n", "a\177\n", "a^?\r\n"},
    {"NoSignalsWithoutIsig", [](termios& t) { Local(t) &= ~ISIG; }, "a\003b\n", "a\003b\n",
     "a^Cb\r\n"},
    {"InterruptFlushes", [](termios& t) { Local(t) &= ~ECHO; }, "abc\003d\n", "d\n", kNothing},
    {"InterruptWithNoflsh", [](termios& t) { Local(t) = (Local(t) | NOFLSH) & ~ECHO; },
     "abc\003d\n", "abcd\n", kNothing},
    {"InterruptShows", [](termios& t) { Local(t) |= NOFLSH; }, "\003\n", "\n", "^C\r\n"},
    {"QuitAndSuspendFlush", [](termios& t) { Local(t) &= ~ECHO; }, "a\034b\032c\n", "c\n",
     kNothing},
    {"FlowCharactersVanish", [](termios&) {}, "a\021b\n", "ab\n", "ab\r\n"},
    {"FlowCharactersStayWithoutIxon", [](termios& t) { t.c_iflag &= ~IXON; }, "a\021\023b\n",
     "a\021\023b\n", "a^Q^Sb\r\n"},
    {"ExternalProcessing", [](termios& t) { Local(t) |= EXTPROC; }, "ab\177c\003\n",
     "ab\177c\003\n", kNothing},
    {"ExternalProcessingWithoutLines", [](termios& t) { Local(t) |= EXTPROC; }, "ab", "ab",
     kNothing},
    {"RawPassesEverything", [](termios& t) { cfmakeraw(&t); }, "a\003\004\r\n\177",
     "a\003\004\r\n\177", kNothing},
    {"RawWithEcho",
     [](termios& t) {
       cfmakeraw(&t);
       Local(t) |= ECHO;
     },
     "ab\001\n\r", "ab\001\n\r", "ab^A^J^M"},
    {"BytewiseWithEcho", [](termios& t) { Local(t) &= ~ICANON; }, "a\001\n", "a\001\n", "a^A^J"},
    {"BytewiseReturn", [](termios& t) { Local(t) &= ~ICANON; }, "a\r", "a\n", "a\r\n"},
    {"BytewiseErase", [](termios& t) { Local(t) &= ~ICANON; }, "a\177\004", "a\177\004", "a^?^D"},
};

class Typed : public testing::TestWithParam<Row> {};

TEST_P(Typed, IsReadAndShown) {
  const Row& row = GetParam();
  Pty pty;
  pty.Change([&](termios& t) {
    row.modes(t);
    t.c_cc[VMIN] = static_cast<cc_t>(row.read.size());
  });
  pty.Type(row.typed);
  EXPECT_EQ(pty.Line(), row.read);
  EXPECT_EQ(pty.ShownSoFar(), row.shown);
}

INSTANTIATE_TEST_SUITE_P(Lines, Typed, testing::ValuesIn(kRows),
                         [](const auto& info) { return std::string(info.param.name); });

struct OutputRow {
  const char* name;
  std::function<void(termios&)> modes;
  std::string printed, shown;
};
std::ostream& operator<<(std::ostream& out, const OutputRow& row) { return out << row.name; }

const OutputRow kOutputRows[] = {
    {"NewlineBecomesTwo", [](termios&) {}, "a\nb", "a\r\nb"},
    {"NothingWithoutOpost", [](termios& t) { t.c_oflag &= ~OPOST; }, "a\nb\r\tc", "a\nb\r\tc"},
    {"NewlineStaysWithoutOnlcr", [](termios& t) { t.c_oflag &= ~ONLCR; }, "a\nb", "a\nb"},
    {"ReturnBecomesNewline", [](termios& t) { t.c_oflag |= OCRNL; }, "a\rb", "a\nb"},
    {"NoReturnAtTheStart", [](termios& t) { t.c_oflag |= ONOCR; }, "\rab\r\rc", "ab\rc"},
    {"NoReturnAfterNewline", [](termios& t) { t.c_oflag |= ONOCR; }, "ab\n\rc", "ab\r\nc"},
    {"NewlineReturns", [](termios& t) { t.c_oflag = OPOST | ONOCR | ONLRET; }, "ab\n\rc", "ab\nc"},
    {"NewlineOnlyMovesDown", [](termios& t) { t.c_oflag = OPOST | ONOCR; }, "ab\n\rc", "ab\n\rc"},
    {"UpperCase", [](termios& t) { t.c_oflag |= OLCUC; }, "abC1\n", "ABC1\r\n"},
    {"TabsBecomeSpaces", [](termios& t) { t.c_oflag |= XTABS; }, "\ta\tb", "        a       b"},
    {"TabsCountFromTheLineStart", [](termios& t) { t.c_oflag |= XTABS; }, "ab\nc\td",
     "ab\r\nc       d"},
    {"TabsKnowBackspace", [](termios& t) { t.c_oflag |= XTABS; }, "abc\b\b\tx", "abc\b\b       x"},
    {"TabsIgnoreControlCharacters", [](termios& t) { t.c_oflag |= XTABS; }, "a\033\001\tx",
     "a\033\001       x"},
    {"TabsCountCharacters",
     [](termios& t) {
       t.c_oflag |= XTABS;
       t.c_iflag |= IUTF8;
     },
     "\303\251\tx", "\303\251       x"},
    {"TabsStay", [](termios&) {}, "a\tb", "a\tb"},
};

class Printed : public testing::TestWithParam<OutputRow> {};

TEST_P(Printed, IsShown) {
  Pty pty;
  pty.Change(GetParam().modes);
  pty.Print(GetParam().printed);
  EXPECT_EQ(pty.ShownSoFar(), GetParam().shown);
}

INSTANTIATE_TEST_SUITE_P(Output, Printed, testing::ValuesIn(kOutputRows),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace

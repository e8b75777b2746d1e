// tools/phone.py with an adb and an ssh that are ours: a folder is the phone, a script the program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/temporary_folder.hpp"
#include "session_program.hpp"

namespace cairn::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::ScopedVariable;

constexpr const char* kScript = CAIRN_TEST_DATA "/../../tools/phone.py";

// What adb, ssh and scp do as far as the script uses them. $PHONE/storage is the phone's folder,
// $PHONE/devices what `adb devices` lists, $PHONE/df a line that stands for df's, $PHONE/calls what was
// called. "cut" beside them: copies lose their ends.
constexpr const char* kTool = R"sh(#!/bin/sh
echo "$(basename "$0") $*" >>"$PHONE/calls"
copy() {
  if [ -e "$PHONE/cut" ]; then head -c 3 "$1" >"$2"; else cp "$1" "$2"; fi
}
on_the_phone() {
  getprop() {
    case $1 in *manufacturer) echo Acme ;; *model) echo "Phone 5" ;; *) echo 14 ;; esac
  }
  if [ -e "$PHONE/df" ]; then df() { cat "$PHONE/df"; }; fi
  cd "$PHONE" || exit
  eval "$(echo "$1" | sed "s#/data/local/tmp#$PHONE/storage#g")"
}
case $(basename "$0") in
  adb)
    if [ "$1" = devices ]; then
      echo "List of devices attached"
      cat "$PHONE/devices"
    elif [ "$3" = push ]; then
      copy "$4" "$(echo "$5" | sed "s#/data/local/tmp#$PHONE/storage#")"
    else
      on_the_phone "$4"
    fi ;;
  ssh) shift $(($# - 1)) && on_the_phone "$1" ;;
  scp) shift $(($# - 2)) && copy "$1" "$PHONE/${2#*:}" ;;
esac
)sh";

class Phone : public ::testing::Test {
 protected:
  Phone() {
    std::filesystem::create_directories(folder_ / "storage");
    std::filesystem::create_directories(folder_ / "bin");
    for (const char* name : {"adb", "ssh", "scp"}) executable(std::string("bin/") + name, kTool);
    executable("cairn-static", "#!/bin/sh\necho \"$*\" >arguments\necho '" + figures_ + "'\n");
    testing::write_file(folder_ / "tiny.gguf", "weights");
    testing::write_file(folder_ / "devices", "A1B2\tdevice\n\n");
    testing::write_file(folder_ / "calls", "");
  }
  void executable(const std::string& name, const std::string& text) const {
    testing::write_file(folder_ / name, text);
    std::filesystem::permissions(folder_ / name, std::filesystem::perms::owner_all);
  }
  struct Said {
    int status;
    std::string out, err;
  };
  Said run(std::vector<std::string> more = {}, const std::string& path = "") const {
    const ScopedVariable phone("PHONE", folder_.path().c_str());
    const ScopedVariable tools("PATH",
                               (path.empty() ? folder_ / "bin" + ":" + std::getenv("PATH") : path).c_str());
    std::vector<std::string> arguments = {folder_ / "tiny.gguf", "--program", folder_ / "cairn-static"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    Program script(arguments, Program::Input::pipe, Program::Errors::pipe, kScript);
    const int status = script.status();
    return {status, script.out, script.err};
  }
  std::string calls() const { return testing::read_file(folder_ / "calls"); }
  // One line, which names the script.
  static void expect_refused(const Said& said, const std::string& why) {
    EXPECT_EQ(said.status, 1);
    EXPECT_EQ(said.out, "");
    EXPECT_THAT(said.err, AllOf(::testing::StartsWith("phone.py: "), HasSubstr(why)));
    EXPECT_EQ(std::ranges::count(said.err, '\n'), 1) << said.err;
  }

  std::string figures_ =
      R"({"processor": "1 Cortex-X4", "threads": 4, "instruction_set": "neon_i8mm", "prefill_tok_s": 123.44, )"
      R"("prefill_of_peak": 0.5, "decode_tok_s": 45.6, "decode_of_bandwidth": 0.87, "first_token_s": 0.123, "rss_mib": 99.6})";
  testing::TemporaryFolder folder_;
};

TEST_F(Phone, GetsTheProgramAndTheModelOnceAndGivesItsRow) {
  const Said first = run({"--threads", "4"});
  ASSERT_EQ(first.status, 0) << first.err;
  EXPECT_THAT(
      first.out,
      HasSubstr("| Acme Phone 5 | Android 14 | tiny | 1 Cortex-X4, 4, neon_i8mm | 123.4 | 50 % | 45.6 | 87 % "
                "| 0.12 s | 100 MiB |\n"));
  EXPECT_EQ(testing::read_file(folder_ / "storage/cairn/model.gguf"), "weights");
  EXPECT_EQ(testing::read_file(folder_ / "storage/cairn/arguments"),
            "bench model.gguf --json --prompt 512 --generate 48 --repeat 3 --threads 4\n");
  EXPECT_THAT(calls(), AllOf(HasSubstr("adb -s A1B2 push "), HasSubstr("adb -s A1B2 shell ")));
  testing::write_file(folder_ / "calls", "");
  EXPECT_EQ(run().status, 0);
  EXPECT_THAT(calls(), Not(HasSubstr(" push ")));  // both are there
  testing::write_file(folder_ / "tiny.gguf", "other weights");
  EXPECT_EQ(run({"--clean"}).status, 0);
  EXPECT_THAT(calls(), AllOf(HasSubstr("push " + (folder_ / "tiny.gguf")),
                             Not(HasSubstr("push " + (folder_ / "cairn-static")))));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "storage/cairn"));
}

TEST_F(Phone, BySshAtAnyPort) {
  const Said said = run({"--ssh", "user@phone:8022"});
  ASSERT_EQ(said.status, 0) << said.err;
  EXPECT_THAT(said.out, HasSubstr("| Acme Phone 5 | Android 14 | tiny | "));
  EXPECT_THAT(calls(), AllOf(HasSubstr("ssh -p 8022 user@phone "), HasSubstr("scp -q -P 8022 "),
                             Not(HasSubstr("adb"))));
  EXPECT_EQ(testing::read_file(folder_ / ".cache/cairn-phone/model.gguf"), "weights");
  expect_refused(run({"--ssh", "phone:ssh"}), "--ssh phone:ssh: ssh is no port");
}

TEST_F(Phone, IsNotThere) {
  testing::write_file(folder_ / "devices", "\n");
  expect_refused(run(), "no phone: allow USB debugging");
  testing::write_file(folder_ / "devices", "A1B2\tunauthorized\n");
  expect_refused(run(), "phone A1B2 is unauthorized: unlock it");
  testing::write_file(folder_ / "devices", "A1B2\tdevice\nC3D4\tdevice\n");
  expect_refused(run(), "2 phones are here: --serial chooses one of A1B2, C3D4");
  expect_refused(run({"--serial", "E5"}), "no phone E5: here is A1B2, C3D4");
  EXPECT_THAT(calls(), Not(HasSubstr("shell")));
  EXPECT_EQ(run({"--serial", "C3D4"}).status, 0);
  EXPECT_THAT(calls(), AllOf(HasSubstr("adb -s C3D4 push"), Not(HasSubstr("-s A1B2"))));
}

TEST_F(Phone, WithoutAdb) {
  std::filesystem::create_directories(folder_ / "nothing");
  for (const char* name : {"env", "python3"}) {
    const std::string path = std::string("/usr/bin/") + name;
    std::filesystem::create_symlink(std::filesystem::canonical(path), folder_ / "nothing/" + name);
  }
  expect_refused(run({}, folder_ / "nothing"), "no adb here");
  expect_refused(run({"--ssh", "phone"}, folder_ / "nothing"), "no ssh and scp here");
}

TEST_F(Phone, HasNoRoom) {
  testing::write_file(folder_ / "df", "/dev/block/dm-5 1000 900 10240 99% /data\n");
  expect_refused(run(), "the phone has 10 MiB of storage left in /data/local/tmp/cairn; 64 MiB are needed");
  EXPECT_THAT(calls(), Not(HasSubstr(" push ")));
  testing::write_file(folder_ / "df", "df: Permission denied\n");
  expect_refused(run(), "cannot read the phone's free storage from: df: Permission denied");
}

TEST_F(Phone, GetsABrokenCopy) {
  testing::write_file(folder_ / "cut", "");
  const Said said = run();
  EXPECT_EQ(said.status, 1);
  EXPECT_THAT(said.err, HasSubstr("phone.py: cairn is not on the phone what it is here"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "storage/cairn/cairn"));
}

TEST_F(Phone, ItsBenchmarkFails) {
  executable("cairn-static", "#!/bin/sh\necho 'cairn: model.gguf: no memory' >&2\nexit 1\n");
  const Said failed = run();
  EXPECT_EQ(failed.status, 1);
  EXPECT_THAT(failed.err, HasSubstr("phone.py: the benchmark: cairn: model.gguf: no memory\n"));
  executable("cairn-static", "#!/bin/sh\necho hello\n");
  EXPECT_THAT(run().err, HasSubstr("phone.py: the benchmark said no figures: hello\n"));
  std::filesystem::remove(folder_ / "tiny.gguf");
  expect_refused(run(), "tiny.gguf: a GGUF file");
}

}  // namespace
}  // namespace cairn::cli

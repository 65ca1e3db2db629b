#include "platform/systrap/instruction.h"

#include <array>

namespace platform::systrap {
namespace {

// What follows an opcode.
enum Kind : uint8_t {
  kNone = 0,
  kModRm = 1,
  kImm8 = 2,
  kImmZ = 4,      // Four bytes, or two with an operand size prefix.
  kBranch = 8,    // The immediate is a distance.
  kMovable = 16,  // Executes anywhere (if its operands do).
  kSpecial = 32,  // Decided in code.
  kBad = 64,
};
using Map = std::array<uint8_t, 256>;

constexpr void Set(Map& map, int from, int to, int kind) {
  for (int i = from; i <= to; ++i) map[static_cast<size_t>(i)] = static_cast<uint8_t>(kind);
}

constexpr Map OneByteMap() {
  Map map{};
  for (int base = 0; base < 0x40; base += 8) {  // add, or, adc, sbb, and, sub, xor, cmp
    Set(map, base, base + 3, kModRm | kMovable);
    Set(map, base + 4, base + 4, kImm8 | kMovable);
    Set(map, base + 5, base + 5, kImmZ | kMovable);
    Set(map, base + 6, base + 7, kBad);  // Prefixes and 0f do not get here.
  }
  Set(map, 0x40, 0x4f, kBad);
  Set(map, 0x50, 0x5f, kMovable);  // push, pop
  Set(map, 0x60, 0x62, kBad);
  Set(map, 0x63, 0x63, kModRm | kMovable);  // movslq
  Set(map, 0x64, 0x67, kBad);
  Set(map, 0x68, 0x68, kImmZ | kMovable);
  Set(map, 0x69, 0x69, kModRm | kImmZ | kMovable);
  Set(map, 0x6a, 0x6a, kImm8 | kMovable);
  Set(map, 0x6b, 0x6b, kModRm | kImm8 | kMovable);
  Set(map, 0x70, 0x7f, kImm8 | kBranch);
  Set(map, 0x80, 0x80, kModRm | kImm8 | kMovable);
  Set(map, 0x81, 0x81, kModRm | kImmZ | kMovable);
  Set(map, 0x82, 0x82, kBad);
  Set(map, 0x83, 0x83, kModRm | kImm8 | kMovable);
  Set(map, 0x84, 0x8b, kModRm | kMovable);  // test, xchg, mov
  Set(map, 0x8c, 0x8c, kModRm);
  Set(map, 0x8d, 0x8d, kModRm | kMovable);  // lea
  Set(map, 0x8e, 0x8e, kModRm);
  Set(map, 0x8f, 0x8f, kModRm | kSpecial);
  Set(map, 0x90, 0x99, kMovable);  // nop, xchg, cltq, cqto
  Set(map, 0x9a, 0x9a, kBad);
  Set(map, 0xa0, 0xa3, kSpecial);  // Eight bytes of address.
  Set(map, 0xa8, 0xa8, kImm8 | kMovable);
  Set(map, 0xa9, 0xa9, kImmZ | kMovable);
  Set(map, 0xb0, 0xb7, kImm8 | kMovable);
  Set(map, 0xb8, 0xbf, kSpecial | kMovable);  // Eight bytes with REX.W.
  Set(map, 0xc0, 0xc1, kModRm | kImm8 | kMovable);
  Set(map, 0xc2, 0xc2, kSpecial);
  Set(map, 0xc4, 0xc5, kBad);  // VEX, decided before.
  Set(map, 0xc6, 0xc6, kModRm | kImm8 | kMovable);
  Set(map, 0xc7, 0xc7, kModRm | kImmZ | kMovable);
  Set(map, 0xc8, 0xc8, kSpecial);
  Set(map, 0xca, 0xca, kSpecial);
  Set(map, 0xcd, 0xcd, kImm8);
  Set(map, 0xce, 0xce, kBad);
  Set(map, 0xd0, 0xd3, kModRm | kMovable);
  Set(map, 0xd4, 0xd6, kBad);
  Set(map, 0xd8, 0xdf, kModRm);
  Set(map, 0xe0, 0xe3, kImm8 | kBranch);
  Set(map, 0xe4, 0xe7, kImm8);
  Set(map, 0xe8, 0xe9, kImmZ | kBranch);
  Set(map, 0xea, 0xea, kBad);
  Set(map, 0xeb, 0xeb, kImm8 | kBranch);
  Set(map, 0xf0, 0xf0, kBad);
  Set(map, 0xf2, 0xf3, kBad);
  Set(map, 0xf6, 0xf7, kModRm | kSpecial | kMovable);
  Set(map, 0xfe, 0xff, kModRm | kSpecial);
  return map;
}

constexpr Map TwoByteMap() {
  Map map{};
  Set(map, 0x00, 0xff, kModRm);
  Set(map, 0x04, 0x09, kNone);
  Set(map, 0x04, 0x04, kBad);
  Set(map, 0x0a, 0x0a, kBad);
  Set(map, 0x0b, 0x0b, kNone);
  Set(map, 0x0c, 0x0c, kBad);
  Set(map, 0x0e, 0x0e, kNone);
  Set(map, 0x0f, 0x0f, kModRm | kImm8);
  Set(map, 0x1f, 0x1f, kModRm | kMovable);  // nop
  Set(map, 0x24, 0x27, kBad);
  Set(map, 0x30, 0x35, kNone);
  Set(map, 0x36, 0x36, kBad);
  Set(map, 0x37, 0x37, kNone);
  Set(map, 0x38, 0x3f, kBad);               // Three-byte maps, decided before.
  Set(map, 0x40, 0x4f, kModRm | kMovable);  // cmov
  Set(map, 0x70, 0x73, kModRm | kImm8);
  Set(map, 0x77, 0x77, kNone);
  Set(map, 0x78, 0x78, kModRm | kSpecial);
  Set(map, 0x80, 0x8f, kImmZ | kBranch);
  Set(map, 0x90, 0x9f, kModRm | kMovable);  // setcc
  Set(map, 0xa0, 0xa2, kNone);
  Set(map, 0xa4, 0xa4, kModRm | kImm8);
  Set(map, 0xa6, 0xa7, kBad);
  Set(map, 0xa8, 0xaa, kNone);
  Set(map, 0xac, 0xac, kModRm | kImm8);
  Set(map, 0xaf, 0xaf, kModRm | kMovable);  // imul
  Set(map, 0xb6, 0xb7, kModRm | kMovable);  // movz
  Set(map, 0xba, 0xba, kModRm | kImm8);
  Set(map, 0xbe, 0xbf, kModRm | kMovable);  // movs
  Set(map, 0xc2, 0xc2, kModRm | kImm8);
  Set(map, 0xc4, 0xc6, kModRm | kImm8);
  Set(map, 0xc8, 0xcf, kNone);
  return map;
}

constexpr Map kOneByte = OneByteMap();
constexpr Map kTwoByte = TwoByteMap();

class Decoder {
 public:
  explicit Decoder(std::span<const uint8_t> code)
      : code_(code.first(code.size() < 15 ? code.size() : 15)) {}

  Instruction Run() {
    Prefixes();
    uint8_t opcode = Next();
    if (opcode == 0x0f) {
      TwoBytes();
    } else if (opcode == 0xc4 || opcode == 0xc5 || opcode == 0x62) {
      Vector(opcode);
    } else {
      OneByte(opcode);
    }
    if (!ok_ || at_ > code_.size()) return {};
    result_.size = static_cast<uint8_t>(at_);
    result_.movable = result_.movable && !prefixed_;
    return result_;
  }

 private:
  uint8_t Next() {
    if (at_ < code_.size()) return code_[at_++];
    ok_ = false;
    return 0;
  }
  uint8_t Peek() const { return at_ < code_.size() ? code_[at_] : 0; }
  void Skip(size_t bytes) { at_ += bytes; }

  // REX counts only as the last of them.
  void Prefixes() {
    for (; ok_; Next()) {
      const uint8_t byte = Peek();
      if ((byte & 0xf0) == 0x40) {
        wide_ = (byte & 8) != 0;
        prefixed_ = prefixed_ || rex_;
        rex_ = true;
        continue;
      }
      if (!IsLegacyPrefix(byte)) return;
      small_ = small_ || byte == 0x66;
      short_address_ = short_address_ || byte == 0x67;
      repeats_ = repeats_ || byte == 0xf2;
      prefixed_ = true;
      wide_ = false;
    }
  }

  static bool IsLegacyPrefix(uint8_t byte) {
    switch (byte) {
      case 0x26:
      case 0x2e:
      case 0x36:
      case 0x3e:
      case 0x64:
      case 0x65:
      case 0x66:
      case 0x67:
      case 0xf0:
      case 0xf2:
      case 0xf3:
        return true;
      default:
        return false;
    }
  }

  void OneByte(uint8_t opcode) {
    const uint8_t kind = kOneByte[opcode];
    Apply(kind, [&] {
      const uint8_t modrm = Peek();
      switch (opcode) {
        case 0x8f:  // pop; everything else is XOP.
          ok_ = ok_ && (modrm & 0x38) == 0;
          break;
        case 0xa0:
        case 0xa1:
        case 0xa2:
        case 0xa3:
          Skip(short_address_ ? 4 : 8);
          break;
        case 0xc2:
        case 0xca:
          Skip(2);
          break;
        case 0xc8:
          Skip(3);
          break;
        case 0xf6:  // test has an immediate.
          immediate_ = (modrm & 0x30) == 0 ? 1 : 0;
          break;
        case 0xf7:
          immediate_ = (modrm & 0x30) == 0 ? SizeZ() : 0;
          break;
        case 0xfe:
        case 0xff:  // inc, dec; calls and jumps are not movable, push is.
          result_.movable = (modrm & 0x30) == 0 || (opcode == 0xff && (modrm & 0x38) == 0x30);
          break;
        default:  // mov to a register
          Skip(wide_ ? 8 : SizeZ());
      }
    });
  }

  void TwoBytes() {
    const uint8_t opcode = Next();
    if (opcode == 0x38 || opcode == 0x3a) {
      Next();
      ModRm();
      if (opcode == 0x3a) Skip(1);
      return;
    }
    Apply(kTwoByte[opcode], [&] { ok_ = ok_ && !small_ && !repeats_; });  // extrq, insertq
  }

  template <typename Special>
  void Apply(uint8_t kind, Special special) {
    if ((kind & kBad) != 0) ok_ = false;
    result_.movable = (kind & kMovable) != 0;
    if ((kind & kSpecial) != 0) special();
    if ((kind & kModRm) != 0) ModRm();
    if ((kind & kBranch) != 0) result_.branch = static_cast<uint8_t>(at_);
    if ((kind & kImm8) != 0) Skip(1);
    // The operand size does not change what a near jump looks like (on AMD's processors it does).
    if ((kind & kImmZ) != 0) Skip((kind & kBranch) != 0 ? 4 : SizeZ());
    Skip(immediate_);
  }

  // VEX and EVEX: the map says whether there is an immediate.
  void Vector(uint8_t escape) {
    const uint8_t first = Next();
    uint8_t map = 1;
    if (escape != 0xc5) map = first & (escape == 0x62 ? 7 : 0x1f);
    Skip(escape == 0xc5 ? 0 : escape == 0xc4 ? 1 : 2);
    const uint8_t opcode = Next();
    if (map == 0 || map == 4 || map > 6) ok_ = false;
    const bool plain = map == 1 && escape != 0x62 && opcode == 0x77;  // vzeroupper
    if (!plain) ModRm();
    if (map == 3 || (map == 1 && (kTwoByte[opcode] & kImm8) != 0)) Skip(1);
  }

  void ModRm() {
    const uint8_t modrm = Next();
    const unsigned mode = modrm >> 6, rm = modrm & 7;
    if (mode == 3) return;
    unsigned base = rm;
    if (rm == 4) base = Next() & 7;
    if (mode == 1) {
      Skip(1);
    } else if (mode == 2) {
      Skip(4);
    } else if (base == 5) {
      if (rm == 5) result_.relative = static_cast<uint8_t>(at_);
      Skip(4);
    }
  }

  size_t SizeZ() const { return small_ && !wide_ ? 2 : 4; }

  const std::span<const uint8_t> code_;
  size_t at_ = 0;
  size_t immediate_ = 0;
  bool ok_ = true;
  bool small_ = false, wide_ = false, short_address_ = false, repeats_ = false;
  bool rex_ = false, prefixed_ = false;
  Instruction result_;
};

}  // namespace

Instruction Decode(std::span<const uint8_t> code) { return Decoder(code).Run(); }

}  // namespace platform::systrap

use std::{collections::HashSet, fmt::Write as _, fs, path::Path};

use abi_stable::{
    StableAbi, library::ROOT_MODULE_LOADER_NAME, std_types::utypeid::UTypeId,
    type_layout::TypeLayout,
};

use super::*;

#[test]
fn the_exported_name_is_the_one_that_the_host_looks_for() {
    // The attribute takes a literal only, so the macro has to repeat the name.
    let attribute = format!("export_name = \"{ROOT_MODULE_LOADER_NAME}\"");
    assert!(include_str!("../export.rs").contains(&attribute));
}

/// With `RM_BLESS_ABI` in the environment it writes the file, for a change that is meant.
#[test]
fn the_layout_is_the_one_that_is_written_down() {
    let present = written_down(<AbiModule_Ref as StableAbi>::LAYOUT);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/abi/layout.txt");
    if std::env::var_os("RM_BLESS_ABI").is_some() {
        fs::write(&file, &present).expect("the source can be written");
    }
    let expected = fs::read_to_string(file).expect("it lies beside this test");
    let difference = expected
        .lines()
        .zip(present.lines())
        .find(|(expected, present)| expected != present);
    assert!(
        expected == present,
        "the layout of what crosses to the host has changed: {difference:?}. If every plugin that was built \
         before still loads (only methods with a default body were appended), or the ABI's version says \
         otherwise, write it down with RM_BLESS_ABI=1"
    );
}

/// Every type of this crate that crosses, with what it consists of, in a text that changes only with that.
fn written_down(root: &'static TypeLayout) -> String {
    let mut types = Types::default();
    types.describe(root);
    // Two kinds of `RResult`, say, bear the same name.
    types.texts.sort();
    let head = format!("ABI {ABI_VERSION}, {}-bit\n", usize::BITS);
    head + &types.texts.concat()
}

#[derive(Default)]
struct Types {
    seen: HashSet<UTypeId>,
    texts: Vec<String>,
}

impl Types {
    fn describe(&mut self, layout: &'static TypeLayout) {
        if !self.seen.insert(layout.get_utypeid()) {
            return;
        }
        let (name, size, alignment) = (layout.full_type(), layout.size(), layout.alignment());
        let mut text = format!("\n{name}: {size} bytes, aligned to {alignment}\n");
        let is_own = layout.package().as_str() == env!("CARGO_PKG_NAME");
        let fields = layout.get_fields();
        for field in fields.into_iter().flat_map(|fields| fields.iter()) {
            let functions = field.function_range();
            for function in functions.iter() {
                if is_own {
                    let function = function.to_string();
                    let _ = writeln!(text, "    {}: {}", field.name(), function.trim());
                }
                for parameter in function.param_type_layouts.iter() {
                    self.describe(parameter());
                }
                if let Some(returned) = function.return_type_layout() {
                    self.describe(returned());
                }
            }
            if is_own && functions.is_empty() {
                let _ = writeln!(text, "    {}: {}", field.name(), field.full_type());
            }
            self.describe(field.layout());
        }
        for phantom in layout.phantom_fields().iter() {
            self.describe(phantom.layout());
        }
        self.texts.push(text);
    }
}

//! Shopify's product export: a product begins with a row that has its title; rows that repeat only its handle are
//! further variants, or further images.

use std::collections::HashMap;

use super::{
    Import,
    table::{Problem, Row, Table},
};
use crate::{Currency, NewProduct, NewSku, slug};

/// A product under way, with what its variants inherit.
struct Draft {
    product: NewProduct,
    on_sale: bool,
}

/// Reads the products; or everything that is wrong.
pub(super) fn read(table: &Table, currency: Currency) -> Result<Import, Vec<Problem>> {
    let needed = ["Title", "Variant Price", "Variant Inventory Qty"];
    let missing: Vec<_> = needed
        .iter()
        .filter(|name| !table.has(name))
        .map(|name| Problem::at_line(1, format!("no column {name:?}, which a Shopify export has")))
        .collect();
    if !missing.is_empty() {
        return Err(missing);
    }

    let mut problems = Vec::new();
    let mut drafts: Vec<Draft> = Vec::new();
    let mut by_handle: HashMap<&str, usize> = HashMap::new();
    let mut lines: HashMap<String, u64> = HashMap::new();
    let mut oversold = 0;
    for row in table.rows() {
        let handle = row.get("Handle");
        if handle.is_empty() {
            problems.push(row.problem("Handle", "it is empty"));
            continue;
        }
        let at = match by_handle.get(handle) {
            Some(&at) => at,
            None if row.get("Title").is_empty() => {
                problems.push(row.problem("Title", format!("{handle:?} is new and has no title")));
                continue;
            }
            None => {
                drafts.push(draft(&row));
                by_handle.insert(handle, drafts.len() - 1);
                drafts.len() - 1
            }
        };
        if is_image(&row) {
            continue;
        }
        match variant(&row, &drafts[at], currency) {
            Ok(sku) => {
                if let Some(line) = lines.insert(sku.code.clone(), row.line()) {
                    let what = format!("the code {:?} stands in line {line} already", sku.code);
                    problems.push(row.problem("Variant SKU", what));
                }
                oversold += usize::from(row.get("Variant Inventory Policy") == "continue");
                drafts[at].product.skus.push(sku);
            }
            Err(wrong) => problems.extend(wrong),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut notes = Vec::new();
    if oversold > 0 {
        notes.push(format!(
            "{oversold} variants may be oversold in Shopify (policy \"continue\"); here nothing is"
        ));
    }
    let products = drafts.into_iter().map(|draft| draft.product).collect();
    Ok(Import { format: "Shopify export", products, notes })
}

fn draft(row: &Row<'_>) -> Draft {
    let published = !row.get("Published").eq_ignore_ascii_case("false");
    let active = matches!(row.get("Status").to_ascii_lowercase().as_str(), "" | "active");
    Draft {
        product: NewProduct {
            handle: Some(row.get("Handle").into()),
            name: row.get("Title").into(),
            description: row.get("Body (HTML)").into(),
            skus: Vec::new(),
        },
        on_sale: published && active,
    }
}

/// The variant's options, without Shopify's stand-in for a product that has none.
fn options<'a>(row: &Row<'a>) -> Vec<&'a str> {
    let values = ["Option1 Value", "Option2 Value", "Option3 Value"].map(|column| row.get(column));
    values.into_iter().filter(|value| !value.is_empty() && *value != "Default Title").collect()
}

fn is_image(row: &Row<'_>) -> bool {
    row.get("Title").is_empty() && row.get("Variant Price").is_empty() && row.get("Option1 Value").is_empty()
}

fn variant(row: &Row<'_>, draft: &Draft, currency: Currency) -> Result<NewSku, Vec<Problem>> {
    let mut problems = Vec::new();
    let price = row.price("Variant Price", currency).map_err(|problem| problems.push(problem));
    let stock = row.stock("Variant Inventory Qty").map_err(|problem| problems.push(problem));
    let (Ok(price), Ok(stock)) = (price, stock) else { return Err(problems) };

    let options = options(row);
    // Spreadsheets keep leading zeros behind an apostrophe.
    let given = row.get("Variant SKU").trim_start_matches('\'');
    let code = if given.is_empty() {
        let mut words = vec![row.get("Handle").to_owned()];
        words.extend(options.iter().map(|option| slug(option)));
        words.join("-")
    } else {
        given.to_owned()
    };
    let name = if options.is_empty() {
        draft.product.name.clone()
    } else {
        format!("{} / {}", draft.product.name, options.join(" / "))
    };
    Ok(NewSku { code, name, price, stock, on_sale: draft.on_sale })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Handle,Title,Body (HTML),Published,Option1 Name,Option1 Value,Option2 Value,Variant SKU,\
                          Variant Inventory Qty,Variant Inventory Policy,Variant Price,Image Src";

    fn import(rows: &str) -> Result<Import, Vec<String>> {
        let currency = Currency::new("GBP").unwrap();
        super::super::read(format!("{HEADER}\n{rows}").as_bytes(), currency)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn variants_images_and_multi_line_bodies_make_one_product() {
        let import = import(
            "tee,Tee,\"<p>Two\nlines, \"\"quoted\"\"</p>\",true,Size,Small,Sea Green,,3,deny,50,a.jpg\n\
             tee,,,,,Large,Sea Green,'007,0,continue,60.5,b.jpg\n\
             tee,,,,,,,,,,,c.jpg\n\
             cap,Cap,,false,Title,Default Title,,,7,deny,9.99,\n",
        )
        .unwrap();
        assert_eq!(import.products.len(), 2);
        let tee = &import.products[0];
        assert_eq!(tee.description, "<p>Two\nlines, \"quoted\"</p>");
        let skus: Vec<_> =
            tee.skus.iter().map(|s| (s.code.as_str(), s.name.as_str(), s.price.get(), s.stock)).collect();
        let expected = [
            ("tee-small-sea-green", "Tee / Small / Sea Green", 5000, 3),
            ("007", "Tee / Large / Sea Green", 6050, 0),
        ];
        assert_eq!(skus, expected);
        let cap = &import.products[1].skus[0];
        assert_eq!((cap.code.as_str(), cap.name.as_str(), cap.on_sale), ("cap", "Cap", false));
        assert!(import.notes[0].contains("1 variants"));
    }

    #[test]
    fn what_is_wrong_is_named_by_line_and_column() {
        let problems = import(
            "tee,Tee,\"two\nlines\",true,Size,S,,T-1,1,deny,ten,\n\
             ,Tee,,true,Size,S,,T-2,1,deny,10,\n\
             cap,,,true,Size,S,,T-3,1,deny,10,\n\
             hat,Hat,,true,Size,S,,T-4,1.5,deny,10,\n\
             hat,,,,,M,,T-4,1,deny,,\n\
             hat,,,,,L,,T-5,1,deny,10,\n\
             hat,,,,,XL,,T-5,1,deny,10,\n",
        )
        .unwrap_err();
        assert_eq!(problems.len(), 6, "{problems:#?}");
        assert!(problems[0].starts_with("line 2, column 11 (Variant Price): \"ten\""), "{problems:#?}");
        assert!(problems[1].starts_with("line 4, column 1 (Handle)"), "{problems:#?}");
        assert!(problems[2].starts_with("line 5, column 2 (Title)"), "{problems:#?}");
        assert!(
            problems[3].starts_with("line 6, column 9 (Variant Inventory Qty): \"1.5\""),
            "{problems:#?}"
        );
        assert!(problems[4].starts_with("line 7, column 11 (Variant Price): \"\""), "{problems:#?}");
        assert!(problems[5].starts_with("line 9, column 8 (Variant SKU)"), "{problems:#?}");
    }

    #[test]
    fn a_code_that_was_made_up_twice_is_named_by_its_line_where_no_column_has_it() {
        let currency = Currency::new("GBP").unwrap();
        let file = b"Handle,Title,Variant Price,Variant Inventory Qty\na,A,1.5,2\na,,2,\n";
        let problems = super::super::read(file, currency).unwrap_err();
        assert_eq!(problems[0].to_string(), "line 3, the code \"a\" stands in line 2 already");
    }
}
